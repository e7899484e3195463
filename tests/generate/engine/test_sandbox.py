"""The sandbox of chat templates: what runs without end or makes too much is refused, what transformers renders is not."""

import sys

import pytest

from edgeopt.generate.engine import sandbox
from edgeopt.generate.engine.sandbox import TooMuchError, environment, rendered

pytest.importorskip("jinja2")

ENDLESS = {
    "loops in loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a %}{% endfor %}{% endfor %}",
    "a macro that calls itself": "{% macro f(n) %}{% if n %}{{ f(n - 1) ~ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
}
LARGE = {
    "a power": "{{ 9 ** 99999999 }}",
    "a product of texts": "{{ 'a' * 99999999999 }}",
    "a product of lists": "{{ ([1] * 99999999999) | length }}",
    "texts put together": "{% set n = namespace(s='a') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "texts added": "{% set n = namespace(s='a') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "a format": "{{ '%99999999999d' % 1 }}",
    "the filter of formats": "{{ '%99999999999d' | format(1) }}",
    "a filter that pads": "{{ 'a' | center(width=99999999999) }}",
    "a method that pads": "{{ 'a'.ljust(99999999999) }}",
    "a method that formats": "{{ '{:99999999}'.format(1) }}",
    "a width that is an argument": "{{ '{:{}}'.format(1, 99999999) }}",
    "zeros before a number": "{{ '1'.zfill(99999999999) }}",
    "tabs": "{{ '\\t'.expandtabs(99999999999) }}",
    "texts replaced": "{% set s = 'a' * 99999 %}{{ s.replace('a', s) }}",
    "all that is said": "{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_template_without_end_is_stopped(name, monkeypatch):
    monkeypatch.setattr(sandbox, "_MOST_SECONDS", 0.05)
    before = sys.gettrace()
    with pytest.raises(TooMuchError, match="it takes more than"):
        rendered(environment().from_string(ENDLESS[name]), {})
    assert sys.gettrace() is before


@pytest.mark.parametrize("name", LARGE)
def test_what_would_be_too_large_is_refused_before_it_is_made(name):
    with pytest.raises(TooMuchError):
        rendered(environment().from_string(LARGE[name]), {})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{{ 'a' ~ 1 ~ none }}", "a1None"),
        ("{{ 'b' + 'c' }}{{ 'd' * 2 }}{{ 2 ** 10 * 3 }}", "bcdd3072"),
        ("{{ '%s!' % 'e' }}{{ '%s-%5d' | format('f', 7) }}", "e!f-    7"),
        ("{{ '12345{:>3}'.format(6) }}", "12345  6"),
        ("{{ 'h'.ljust(3) ~ 'i'.zfill(2) ~ 'aba'.replace('a', 'bc').upper() ~ '\\t'.expandtabs() }}", "h  0iBCBBC        "),
        ("{{ 'g' | center(3) }}{{ 'x\\ny' | indent }}", " g x\n    y"),
    ],
)
def test_ordinary_operations_give_what_jinja_gives(text, wanted):
    assert rendered(environment().from_string(text), {}) == wanted
