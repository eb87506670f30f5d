"""The config's text after an edit: the wanted value, and every other character as it was."""

from __future__ import annotations

import pytest

from gateway.editing import CannotEdit, add_rule, set_kill_switch, set_rule

HEAD = "version: 1\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "routes:\n- name: a\n  cutover: legacy # x\n",
            "routes:\n- name: a\n  cutover: native # x\n",
        ),
        (
            "routes:\n  -   name: a\n      cutover: legacy\n",
            "routes:\n  -   name: a\n      cutover: native\n",
        ),
        ("routes:\n  - cutover: 'legacy'   # x\n", "routes:\n  - cutover: 'native'   # x\n"),
        ("routes: [{cutover: legacy}]", "routes: [{cutover: native}]"),
        (
            "routes:\n  - cutover: canary\n    weight: 5  # few\n    path: /a\n",
            "routes:\n  - cutover: native\n    path: /a\n",
        ),
        (
            "routes:\n  - weight: 5  # few\n    cutover: canary\n",
            "routes:\n  - cutover: native\n",
        ),
        ("routes: [{cutover: canary, weight: 5}]", "routes: [{cutover: native}]"),
        ("routes: [{weight: 5, cutover: canary}]", "routes: [{cutover: native}]"),
        (
            "x: &c legacy\nroutes:\n  - {name: a, cutover: *c }\n  - {name: b, cutover: *c}\n",
            "x: &c legacy\nroutes:\n  - {name: a, cutover: native }\n  - {name: b, cutover: *c}\n",
        ),
        (
            "x: &x {cutover: legacy}\nroutes:\n  - <<: *x\n    name: a\n  - {<<: *x, name: b}\n",
            (
                "x: &x {cutover: legacy}\nroutes:\n  - <<: *x\n    name: a\n    cutover: native\n"
                "  - {<<: *x, name: b}\n"
            ),
        ),
        (
            "x: &x {cutover: canary, weight: 5}\nroutes:\n  - {<<: *x, name: a}\n",
            (
                "x: &x {cutover: canary, weight: 5}\n"
                "routes:\n  - {<<: *x, name: a, cutover: native, weight: null}\n"
            ),
        ),
        ("routes:\r\n  - cutover: legacy\r\n    name: a\r\n", None),
        ("routes:\r  - cutover: legacy\r", None),
        ("routes:\n  - cutover: &c legacy\n", "routes:\n  - cutover: &c native\n"),
        ("routes:\n  - ? cutover\n    : legacy\n", "routes:\n  - ? cutover\n    : native\n"),
        (
            '{"routes": [\n\t{\n    "name": "a",\n    "cutover": "legacy"\n  }\n]}',
            '{"routes": [\n\t{\n    "name": "a",\n    "cutover": "native"\n  }\n]}',
        ),
    ],
)
def test_a_rule_is_moved(before: str, after: str | None) -> None:
    wanted = after if after is not None else before.replace("legacy", "native")
    assert set_rule(before, 0, "native", None) == wanted


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "routes:\r\n  - cutover: legacy  # x\r\n    name: a",
            "routes:\r\n  - cutover: canary  # x\r\n    weight: 12.5\r\n    name: a",
        ),
        ("routes:\n  - cutover: legacy", "routes:\n  - cutover: canary\n    weight: 12.5\n"),
        (
            '{"routes": [\n  {\n    "name": "a",\n    "cutover": "legacy"\n  }\n]}',
            (
                '{"routes": [\n  {\n    "name": "a",\n    "cutover": "canary",\n'
                '    "weight": 12.5\n  }\n]}'
            ),
        ),
        (
            "routes: [{cutover: canary, weight: '10'}]",
            "routes: [{cutover: canary, weight: 12.5}]",
        ),
    ],
)
def test_a_rule_becomes_a_canary(before: str, after: str) -> None:
    assert set_rule(before, 0, "canary", 12.5) == after


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("routes:\n  - &a {name: a, cutover: legacy}\n  - {<<: *a, name: b}\n", "b shares"),
        ("routes:\n  - &a {name: a, cutover: legacy}\n  - *a\n", "a shares"),
        (
            "routes:\n  - {name: a, cutover: &c legacy}\n  - {name: b, cutover: *c}\n",
            "line 2: routes[0]: b shares",
        ),
        ("x: &a {cutover: legacy}\nroutes:\n  - *a\n", "line 3: the rule is an alias"),
        ("x: &r [{cutover: legacy}]\nroutes: *r\n", "`routes:` is an alias"),
        ("routes:\n  - cutover: >-\n      legacy\n", "line 2: write cutover: native by hand"),
        (
            "routes:\n  - cutover: &c legacy\ndefaults: {cutover: *c}\n",
            "other keys share this value",
        ),
    ],
)
def test_what_would_change_something_else_is_refused(text: str, said: str) -> None:
    with pytest.raises(CannotEdit) as refused:
        set_rule(text, 0, "native", None)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("version: 1", "version: 1\ndefaults: {kill_switch: true}\n"),
        ("version: 1\r\nx: 2\r\n", "version: 1\r\ndefaults: {kill_switch: true}\r\nx: 2\r\n"),
        ("defaults: {}\nversion: 1\n", "defaults: {kill_switch: true}\nversion: 1\n"),
        ("defaults:\n  kill_switch: false\n", "defaults:\n  kill_switch: true\n"),
        (
            "defaults:\n  sticky:\n    - ip   # x\n# end\nversion: 1\n",
            "defaults:\n  sticky:\n    - ip   # x\n  kill_switch: true\n# end\nversion: 1\n",
        ),
        (
            "defaults:\n  sticky: [ip,\n    principal]\n",
            "defaults:\n  sticky: [ip,\n    principal]\n  kill_switch: true\n",
        ),
        (
            "defaults:\n  failover:\n    timeout: 2s\n\nroutes: []\n",
            "defaults:\n  failover:\n    timeout: 2s\n  kill_switch: true\n\nroutes: []\n",
        ),
        ("defaults: {sticky: [ip]}\n", "defaults: {sticky: [ip], kill_switch: true}\n"),
        (
            'x: &d {kill_switch: false}\ndefaults:\n  <<: *d\n  salt: "x"\n',
            'x: &d {kill_switch: false}\ndefaults:\n  <<: *d\n  salt: "x"\n  kill_switch: true\n',
        ),
        ('{"version": 1}', '{"version": 1, "defaults": {"kill_switch": true}}'),
        (
            '{\n  "version": 1,\n  "defaults": {\n    "salt": "x"\n  }\n}\n',
            (
                '{\n  "version": 1,\n  "defaults": {\n    "salt": "x",\n'
                '    "kill_switch": true\n  }\n}\n'
            ),
        ),
    ],
)
def test_the_kill_switch_is_thrown(before: str, after: str) -> None:
    assert set_kill_switch(before, on=True) == after


def test_the_kill_switch_behind_an_alias_is_refused() -> None:
    with pytest.raises(CannotEdit, match=r"line 2: write defaults\.kill_switch by hand"):
        set_kill_switch("x: &d {salt: a}\ndefaults: *d\n", on=True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("cutover: legacy", "cutover: native, auth: hooks"),
        ("cutover: legacy, auth: none, name: a", "cutover: native, auth: hooks, name: a"),
        ('cutover: legacy, auth: "none"', 'cutover: native, auth: "hooks"'),
        ("cutover: legacy, weight: 5, name: a", "cutover: native, auth: hooks, name: a"),
    ],
)
def test_who_guards_it_is_said_in_the_rule(before: str, after: str) -> None:
    text = "routes:\n  - {RULE}\n"
    assert set_rule(text.replace("RULE", before), 0, "native", None, "hooks") == text.replace(
        "RULE", after
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HEAD, HEAD + "routes:\n  - {RULE}\n"),
        ("version: 1", "version: 1\nroutes:\n  - {RULE}\n"),
        (HEAD + "...\n", HEAD + "routes:\n  - {RULE}\n...\n"),
        (HEAD + "routes: []\n", HEAD + "routes: [{RULE}]\n"),
        (HEAD + "routes: [{path: /a}]  # x\n", HEAD + "routes: [{path: /a}, {RULE}]  # x\n"),
        (
            HEAD + "routes:\n- path: /a\n  requires:\n  - x # y\n\n# end\nz: 1\n",
            HEAD + "routes:\n- path: /a\n  requires:\n  - x # y\n- {RULE}\n\n# end\nz: 1\n",
        ),
        (
            HEAD + "routes:\r\n  -   path: /a",
            HEAD + "routes:\r\n  -   path: /a\r\n  - {RULE}\r\n",
        ),
        (
            HEAD + "routes:\n  - path: /a\n\n  # b\n  - path: /b\n",
            HEAD + "routes:\n  - path: /a\n\n  # b\n  - path: /b\n\n  - {RULE}\n",
        ),
        (
            HEAD + "routes:\n  - path: /a\n  # b\n  - path: /b\n\n",
            HEAD + "routes:\n  - path: /a\n  # b\n  - path: /b\n  - {RULE}\n\n",
        ),
        ("version: 1\rroutes:\r- path: /a\r", "version: 1\rroutes:\r- path: /a\r- {RULE}\r"),
        ("version: 1\nroutes:\n- path: /a\r", "version: 1\nroutes:\n- path: /a\r- {RULE}\n"),
    ],
)
def test_a_rule_is_added(before: str, after: str) -> None:
    rule = {"path": "/c", "methods": ["GET"], "cutover": "canary", "weight": 5.0}
    code = 'path: "/c", methods: [GET], cutover: canary, weight: 5'
    assert add_rule(before, rule) == after.replace("RULE", code)


def test_a_rule_is_added_to_json() -> None:
    rule = {"path": "/c", "methods": ["GET"], "cutover": "native"}
    before = '{"routes": [\n  {"path": "/a"}\n]}'
    code = '{"path": "/c", "methods": ["GET"], "cutover": "native"}'
    assert add_rule(before, rule) == f'{{"routes": [\n  {{"path": "/a"}},\n  {code}\n]}}'
    assert add_rule("{}", rule) == f"{{routes: [{code}]}}".replace('"', "").replace("/c", '"/c"')


def test_a_list_that_is_an_alias_gets_no_rule() -> None:
    with pytest.raises(CannotEdit, match="line 2: add to `routes:` by hand"):
        add_rule("x: &r [{path: /a}]\nroutes: *r\n", {"path": "/c"})
