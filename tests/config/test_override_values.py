"""The value grammar of overrides: examples, and the same results as Hydra's own parser for any text."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dlio_fast.config import parse_override, parse_value
from dlio_fast.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("3", 3),
        ("-3", -3),
        ("1_000", 1000),
        ("007", "007"),
        ("114660.07", 114660.07),
        ("1e-3", 0.001),
        ("1.", 1.0),
        (".5", 0.5),
        ("-inf", -math.inf),
        ("true", True),
        ("False", False),
        ("off", "off"),
        ("null", None),
        ("npz", "npz"),
        ("/data/unet3d", "/data/unet3d"),
        ("s3://bucket/a-b_c.d", "s3://bucket/a-b_c.d"),
        ("direct://./data", "direct://./data"),
        ("a b", "a b"),
        (r"a\,b\=c", "a,b=c"),
        ("'3'", "3"),
        ('"a, b"', "a, b"),
        (r"'it\'s'", "it's"),
        ("[]", []),
        ("[6, 7,3]", [6, 7, 3]),
        ("[a,[1,2],{b:null}]", ["a", [1, 2], {"b": None}]),
        ("{}", {}),
        ("{mean: 1.5,stdev: 0.1}", {"mean": 1.5, "stdev": 0.1}),
        ("{a:b:c}", {"a": "b:c"}),
        ("${oc.env:HOME}", "${oc.env:HOME}"),
    ],
)
def test_values_have_the_types_that_hydra_gives_them(text, value):
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    "text", ["1,2", "choice(1,2)", "int(3)", "[1", "{a}", "a]", "'a", "a=b", "#", " ", "[1,]"]
)
def test_what_is_no_single_value_is_refused(text):
    with pytest.raises(ConfigError):
        parse_value(text)


def test_deep_nesting_is_an_error_not_a_crash():
    with pytest.raises(ConfigError, match="deep"):
        parse_value("[" * 100_000)


@pytest.mark.parametrize(
    ("text", "action", "key", "value"),
    [
        ("a.b=1", "change", "a.b", 1),
        ("+a.b=1", "add", "a.b", 1),
        ("++a.b=1", "set", "a.b", 1),
        ("~a.b", "delete", "a.b", None),
        ("~a.b=1", "delete", "a.b", 1),
        ("workload=unet3d_h100", "change", "workload", "unet3d_h100"),
        ("hydra/job_logging=disabled", "change", "hydra/job_logging", "disabled"),
        ("a.columns.0.name=x", "change", "a.columns.0.name", "x"),
        ("a=", "change", "a", ""),
    ],
)
def test_an_override_is_an_action_a_key_and_a_value(text, action, key, value):
    parsed = parse_override(text)
    assert (parsed.action, parsed.key, parsed.value) == (action, key, value)


@pytest.mark.parametrize(
    "text", ["a", "+a", "=1", "a b=1", "+++a=1", "-a=1", "--config-dir=x", "a@b=1", "ä=1", ""]
)
def test_what_is_no_override_is_refused_with_its_text(text):
    with pytest.raises(ConfigError) as caught:
        parse_override(text)
    assert repr(text) in str(caught.value)


# -- against Hydra ---------------------------------------------------------------------------------------

PIECES = [
    *"abeExn019_-+.,:=()[]{}'\"\\ \t/$%*@?|#!~&é",
    "true", "False", "null", "inf", "NaN", "1e5", "1.5e-3", "0x1", "10_0", "${a}",
    "\\,", "\\\\", "\\ ", "\\'", "s3://",
    "'x'", '"y z"', "[1,2]", "{a:1}", ", ", " : ",
]  # fmt: skip
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.text(max_size=12),
)


def _hydra_value(text, rule="value"):
    """Hydra's own result as plain values; "refused" for errors and for what is a sweep or a function."""
    parsing = pytest.importorskip("hydra.core.override_parser.overrides_parser")
    types = pytest.importorskip("hydra.core.override_parser.types")
    errors = pytest.importorskip("hydra.errors")

    def plain(value):
        if isinstance(value, types.QuotedString):
            return value.text
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, dict):
            return {plain(key): plain(item) for key, item in value.items()}
        return value

    try:
        # Without functions registered, a call is an error, as it is here.
        parsed = parsing.OverridesParser(functions=parsing.Functions()).parse_rule(text, rule)
    except (errors.HydraException, errors.OverrideParseException):
        return "refused"
    if rule == "override":
        if parsed.package is not None or parsed.is_sweep_override():
            return "refused"
        return parsed.type.name, parsed.key_or_group, plain(parsed._value)
    return "refused" if isinstance(parsed, types.Sweep) else plain(parsed)


def _same(ours, theirs):
    """Equal in value and type, nan being equal to itself."""
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    if isinstance(ours, dict):
        return _same(list(ours), list(theirs)) and _same(list(ours.values()), list(theirs.values()))
    return ours == theirs or (ours != ours and theirs != theirs)


@settings(max_examples=600, deadline=None)
@given(texts)
@example(r"'\\'")
@example("'a' ")
@example(" a : b ")
@example("1.e5")
@example("{1:a,1.0:b,null:c}")
def test_any_value_parses_as_hydra_parses_it(text):
    try:
        ours = parse_value(text) if text else "refused"
    except ConfigError:
        ours = "refused"
    # parse_rule stops at the end of a value; a complete override does not, so the value goes through one.
    theirs = _hydra_value(f"key={text}", "override") if text else "refused"
    theirs = theirs[2] if isinstance(theirs, tuple) else theirs
    if text[:1] in (" ", "\t"):
        try:
            ours = parse_override(f"key={text}").value  # blanks after the = belong to it
        except ConfigError:
            ours = "refused"
    assert _same(ours, theirs), (text, ours, theirs)


ACTIONS = {"CHANGE": "change", "ADD": "add", "FORCE_ADD": "set", "DEL": "delete"}


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from([*"ab0_-.+~=@/$ \t", "a.b", "~", "++", "=1", "key", "12"]), max_size=8).map(
        "".join
    )
)
def test_any_override_splits_as_hydra_splits_it(text):
    theirs = _hydra_value(text, "override")
    if isinstance(theirs, tuple):
        theirs = (ACTIONS[theirs[0]], theirs[1], theirs[2])
        if theirs[1] == "":
            theirs = "refused"  # Hydra's way to say the root of the configuration
    try:
        parsed = parse_override(text)
        ours = (parsed.action, parsed.key, parsed.value)
    except ConfigError:
        ours = "refused"
    assert ours == theirs
