"""Everything public says in numpydoc what it takes, gives, costs and cites."""

from inspect import isclass, isfunction

import pytest
from numpydoc.validate import validate

from skpapers.utils.discovery import all_estimators, all_public

# What numpydoc may find that we allow: layout rules of its own taste, links to other
# pages, and examples and extended summaries for the methods of a class.
ALLOWED = {"GL01", "GL02", "GL03", "SS05", "SS06", "SA01", "SA04", "ES01", "EX01"}
ALLOWED |= {"YD01", "RT02"}  # a single return value may have a name
ALLOWED |= {"PR01"}  # a **kwargs that is passed on has no entry of its own

PUBLIC = {name: obj for name, obj in all_public() if isclass(obj) or isfunction(obj)}


def _documented():
    for name, obj in PUBLIC.items():
        yield name
        if isclass(obj):
            own = [m for m in dir(obj) if not m.startswith("_")]
            for method in own:
                module = getattr(getattr(obj, method, None), "__module__", "") or ""
                if module.startswith("skpapers"):
                    yield f"{name}.{method}"


@pytest.mark.parametrize("name", _documented())
def test_numpydoc(name):
    errors = [
        (code, text) for code, text in validate(name)["errors"] if code not in ALLOWED
    ]
    assert not errors


@pytest.mark.parametrize(("name", "cls"), all_estimators())
def test_estimators_tell_cost_source_and_example(name, cls):
    for section in ("Parameters", "Attributes", "Notes", "References", "Examples"):
        assert f"    {section}\n    ---" in cls.__doc__, section
    assert "O(" in cls.__doc__, "the complexity is missing"


@pytest.mark.parametrize("name", PUBLIC)
def test_functions_have_examples(name):
    doc = PUBLIC[name].__doc__
    if issubclass(PUBLIC[name], Warning) if isclass(PUBLIC[name]) else False:
        return
    assert ">>>" in doc
