#!/usr/bin/env python3
"""Prints tests/golden/jinja.jsonl: small templates and what Python's Jinja renders them to.

Usage: python make_jinja_fixture.py > tests/golden/jinja.jsonl  (needs the package jinja2)

The environment is the one that Transformers' apply_chat_template makes: the sandbox, trim_blocks and
lstrip_blocks on, loop controls, its tojson, its raise_exception, {% generation %}. A line holds
"template", "variables" and either "text" with "generation" (ranges of bytes) or "fails": true.
"""

import json

import jinja2.ext
from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

CHAT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi  there \u00e9\u4e16\U0001f600"},
        {"role": "assistant", "content": " Hello. ", "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": [1.0, None, True, "x\"y'z"]}}}]},
        {"role": "tool", "content": "<r>\n2</r>"},
        {"role": "user", "content": "bye"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "does \"it\"", "parameters": {
        "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": ["array", "null"]}}, "required": ["a"]}}}],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True, "documents": None,
}
VALUES = {"n": 7, "neg": -7, "x": 2.5, "big": 1e16, "small": 1e-05, "one": 1.0, "t": True, "f": False, "none": None,
          "s": "Hello, World", "u": "\u00c9t\u00e9 \u4e16\u754c", "blank": " \t\u00a0\u3000a b\u2003\n", "empty": "",
          "l": [3, 1, 2], "words": ["b", "A", "c", "a"], "d": {"b": 1, "a": 2, "items": 3, "k y": [1]},
          "rows": [{"n": "x", "v": 2, "o": {"p": 1}}, {"n": "y", "v": 1}, {"n": "x", "v": 3, "o": {"p": 2}}],
          "lines": "one\n\ntwo\r\nthree\n", "html": "<a href='x'>&\"</a>", "tab": "a\tb\\c\x01\x7f\u200b\u00ad"}

EXPRESSIONS = """
1 + 2 * 3 - 4 | 7 // 2 | -7 // 2 | -7 % 3 | 7 % -3 | 7 / 2 | 6 / 2 | 2 ** 10 | 2 ** -1 | -2 ** 2 | 2 ** 3 ** 2
7.5 // 2 | -7.5 % 2 | 1e3 | 1_000 | 0.1 + 0.2 | 3 * 1.0 | 1 / 3 | 100000000000000000.0 | big | small | one | x * 2
'a' 'b' | 'a' ~ 1 ~ none ~ true ~ 1.5 | "it's" | 'q"q' | '\\n\\t\\x41\\u00e9\\\\' | 'a' * 3 | 3 * 'ab' | [1, 2] + [3] | (1,) + (2, 3) | [0] * 3
1 < 2 < 3 | 1 < 3 < 2 | 'a' < 'b' | 1 == 1.0 | true == 1 | none == none | [1, 2] == [1, 2] | [1] == (1,) | {'a': 1} == {'a': 1.0} | 'a' != 'b' | 3 >= 3 | 2 <= 1
'ell' in s | 'z' not in s | 3 in l | 'a' in d | 'z' in d | not 'a' in d | 1 in (1, 2)
not true | not not 1 | 1 and 0 | 0 or 'x' | none or false | 1 if false else 2 | 'a' if true | 'a' if false | (1 if f else 2 if f else 3)
l[0] | l[-1] | l[1:] | l[:-1] | l[::-1] | l[::2] | l[5:] | l[-2:] | s[0] | s[-1] | s[7:] | s[::-1] | u[1:4] | u[-2:] | u[0] | l[9] | d.zzz | d['zzz'] | missing | s[99]
d.a | d['a'] | d['k y'][0] | d['items'] | rows[0].o.p | rows.0.n | l.0 | d.get('a') | d.get('q') | d.get('q', 5) | d.items() | list | d.keys() | list | d.values() | list
[1, 'a', none, true, 1.0, 'it\\'s', "é", [], {}, (), (1,), (1, 2)] | {'a': [1, {'b': none}], 1: 2.50} | tab | [tab] | [u] | [lines] | ['\\u200b\\u00a0\\u3000é\\U0001F600'] | (1, 2) | {} | []
s.upper() | s.lower() | u.upper() | u.lower() | 'hello world'.title() | 'hELLO wORLD'.capitalize() | "they're bill's".title() | 'aBc'.swapcase()
s.startswith('Hell') | s.endswith(('x', 'ld')) | s.find('o') | s.rfind('o') | s.find('zz') | s.count('l') | s.replace('l', 'L') | s.replace('l', 'L', 1) | s.index('W') | u.find('世')
blank.strip() | [blank.strip()] | [blank.lstrip()] | [blank.rstrip()] | 'xxaxx'.strip('x') | 'abcab'.lstrip('ab') | 'abcab'.rstrip('ab') | [' a  b c '.split()] | 'a,b,,c'.split(',') | 'a,b,c'.split(',', 1) | 'a,b,c'.rsplit(',', 1) | ' a  b  c '.split(none, 1) | ' a  b  c '.rsplit(none, 1) | ''.split() | ''.split(',') | lines.splitlines()
'-'.join(words) | 'a-b-c'.partition('-') | 'a-b-c'.rpartition('-') | 'abc'.partition('-') | 'ab'.center(7) | 'ab'.center(6, '*') | 'ab'.ljust(4) ~ '|' | 'ab'.rjust(4) | '7'.zfill(3) | '-7'.zfill(4) | 'prefix'.removeprefix('pre') | 'file.txt'.removesuffix('.txt')
'12'.isdigit() | 'a1'.isalnum() | 'ab'.isalpha() | 'a b'.isalpha() | ' '.isspace() | 'AB'.isupper() | 'ab1'.islower() | ''.isdigit() | 'é'.isalpha()
'{} and {}'.format(1, 'b') | '{0}{1}{0}'.format('a', 'b') | '{x}-{y}'.format(x=1, y=2) | '{{}} {:>5}|{:<5}|{:^5}|{:05d}|{:.2f}'.format('a', 'b', 'c', 42, 3.14159) | '%s is %d and %.2f%%' % ('a', 3, 1.5) | '%5s|%-5s|' % ('a', 'b') | '%s' % 'x' | '%r' % 'x' | '%03d' % 7
l | length | s | length | u | length | d | length | missing | length | empty | count
s | upper | u | lower | 'hello-world (foo bar)' | title | 'fOO' | capitalize | ' a ' | trim | 'xax' | trim('x') | [blank | trim] | missing | upper | 5 | string | none | string
l | first | l | last | s | first | [] | first | [] | last | l | join | l | join(', ') | rows | join('-', attribute='n') | 'abc' | join('.') | words | join | upper
l | sort | words | sort | words | sort(case_sensitive=true) | l | sort(reverse=true) | rows | sort(attribute='v') | map(attribute='v') | list | l | reverse | list | s | reverse | words | unique | list | [1, 1, 2] | unique | list
l | sum | rows | sum(attribute='v') | l | sum(start=10) | l | min | l | max | words | min | words | max | [] | max | rows | max(attribute='v') | [0.5, 1] | sum
l | map('string') | list | words | map('upper') | join | rows | map(attribute='o.p', default='-') | list | rows | map(attribute='n') | unique | list | l | map('default', 1) | list
l | select('odd') | list | l | reject('odd') | list | l | select | list | l | select('gt', 1) | list | [0, 1, ''] | select | list | rows | selectattr('o') | list | length | rows | rejectattr('o') | list | length | rows | selectattr('n', 'equalto', 'x') | map(attribute='v') | list | rows | selectattr('v', 'ge', 2) | list | length | rows | selectattr('o', 'defined') | list | length | rows | rejectattr('n', 'in', ['x']) | list
d | items | list | d | dictsort | d | dictsort(by='value') | d | dictsort(reverse=true) | d | list | 'abc' | list | l | list | missing | list | missing | items | list
missing | default('z') | none | default('z') | none | default('z', true) | empty | d('z', true) | 0 | default(1, boolean=true) | d.q | default('w')
'42' | int | ' 42 ' | int | 'x' | int | 'x' | int(-1) | '3.7' | int | 3.9 | int | -3.9 | int | 'ff' | int(0, 16) | none | int | true | int | '1.5' | float | 'x' | float | 3 | float | 'x' | float(1.0) | '1e3' | float
-5 | abs | -2.5 | abs | 2.5 | round | 3.5 | round | 2.675 | round(2) | 42.55 | round(1, 'floor') | 42.1 | round(0, 'ceil') | 7 | round | 1.0 | round | 3 | round(2)
lines | indent | lines | indent(2) | lines | indent(2, true) | lines | indent(2, blank=true) | lines | indent('> ') | html | escape | html | e | html | safe | 'a b  c-d' | wordcount | s | replace('l', 'L') | s | replace('l', 'L', 1) | 'aaa' | replace('', '-') | 'x' | center(5) ~ '|' | 'a long text here' | truncate(9) | 'a long text here' | truncate(9, true) | 'a long text' | truncate(9, leeway=0) | '%s-%d' | format('a', 3)
l | batch(2) | list | l | batch(2, 0) | list | rows | groupby('n') | map('first') | list | rows | groupby('n') | map('last') | map('length') | list
d | tojson | rows | tojson | rows | tojson(indent=2) | [] | tojson(indent=4) | {} | tojson | tab | tojson | u | tojson | html | tojson | [1.0, 1e16, none, true, 'é'] | tojson | {1: 2, none: 3, true: 4, 1.5: 6} | tojson | d | tojson(sort_keys=false) | rows[0] | tojson(indent=4) | u | tojson(ensure_ascii=true) | d | tojson(separators=(',', ':')) | 'a/b' | tojson | (1, 2) | tojson | u | tojson(true) | d | tojson(false, 2)
n is defined | q is defined | q is undefined | q is not defined | none is none | n is not none | s is string | n is string | n is number | t is number | x is number | n is integer | t is integer | x is float | t is boolean | n is boolean | d is mapping | l is mapping | l is iterable | n is iterable | s is iterable | l is sequence | d is sequence | s is sequence | true is true | 1 is true | false is false | 0 is false
n is odd | n is even | n is divisibleby 7 | n is divisibleby(2) | n is eq 7 | n is equalto(7) | n is ne 7 | n is lt 8 | n is gt(7) | n is ge 7 | n is le 6 | n is in [7] | 'a' is in 'abc' | n is sameas 7 | 'abc' is lower | 'ABC' is upper | range is callable | none is sameas none | missing is none | missing == missing | not missing is defined | n is defined and s is defined
range(3) | list | range(1, 7, 2) | list | range(3, 0, -1) | list | range(0) | list | dict(a=1, b='x') | dict({'q': 1}, z=2) | namespace(a=1).a | [] or 'none' | '' ~ missing ~ 'x' | (missing or 'y') | [missing | default(0)] | {'a': 1}.a | {'a': {'b': 2}}['a']['b'] | [[1, 2], [3]][0][1] | -n | +n | - -n | -x | -n | abs | not n == 7 | 'a' in 'abc' and 'b' not in 'xyz' | 1 ~ 2 + 3 | 2 * 3 ~ 4
"""

# Split at " | " would cut filters, so lists of expressions are cut where a filter can't stand.
TEMPLATES = [
    "a\n{% if true %}\nb\n{% endif %}\nc\n", "  {% if true %}  \n  b  \n  {% endif %}\n  c", "a {%- if true -%} b {%- endif -%} c",
    "a\n  {%+ if true %} b{% endif +%}\n c", "x {{- ' y ' -}} z", "  {{ 1 }}\n  {{ 2 }}\n", "{# comment #}\nafter", "a\n  {#- c -#}  \nb", "  {# c #} x", "a {# b\nc #}\nd",
    "{% raw %}{{ x }} {% if %}{% endraw %}!", "{%- raw -%}  {{ a }}  {%- endraw -%}  z", "{% raw %}\n a\n  {% endraw %}\nb", "{{ '{{' }} {{ \"%}\" }} {{ '}}' }}", "{{ {'a': {'b': 1}} }}", "{{ {'a': {'b': 1}}['a'] }}",
    "line\n\n", "line\n", "line\r\nnext\rlast", "{{ 'a\\\nb' }}", "\n{% set x = 1 %}\n{{ x }}\n", "a{% set x = 1 %}\nb", "\t{% if 1 %}t{% endif %}\n\t{{ 1 }}", "{% if 1 %}{% if 1 %}\n x\n  {% endif %}\n{% endif %}",
    "{% if n == 1 %}a{% elif n == 7 %}b{% elif n == 7 %}c{% else %}d{% endif %}", "{% if empty %}a{% else %}b{% endif %}{% if l %}c{% endif %}{% if missing %}d{% endif %}",
    "{% for i in l %}{{ i }}{{ ',' if not loop.last }}{% endfor %}", "{% for i in [] %}x{% else %}empty{% endfor %}", "{% for i in l if i > 1 %}{{ loop.index }}/{{ loop.length }}:{{ i }} {% else %}none{% endfor %}", "{% for i in l if i > 5 %}{{ i }}{% else %}none{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }} {% endfor %}", "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for c in u %}[{{ c }}]{% endfor %}", "{% for x in missing %}a{% else %}b{% endfor %}", "{% for x in 1, 2 %}{{ x }}{% endfor %}",
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem }}|{{ loop.nextitem }}{{ loop.cycle('a', 'b') }}\n{% endfor %}",
    "{% for i in [1, 1, 2] %}{{ loop.changed(i) }} {% endfor %}", "{% for i in l %}{% for j in l %}{{ loop.depth }}{{ i }}{{ j }} {% endfor %}{{ loop.index }}{% endfor %}", "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% set x = 1 %}{% for i in l %}{% set x = i %}{{ x }}{% endfor %}{{ x }}", "{% set ns = namespace(x=1, found=false) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.found }}{{ ns.zzz }}", "{% if true %}{% set y = 2 %}{% endif %}{{ y }}", "{% set a, b = 1, 'z' %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}",
    "{% set x %}\n body {{ n }}\n{% endset %}[{{ x }}]", "{% set x | upper | trim %} body {% endset %}[{{ x }}]", "{% set ns = namespace() %}{% set ns.t %}in{% endset %}{{ ns.t }}", "{% set loop_messages = l[1:] %}{{ loop_messages }}", "{% set x = x if x is defined else 'd' %}{{ x }}",
    "{% macro m(a, b='B', c=none) %}[{{ a }}|{{ b }}|{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) }}{{ m() }}", "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}", "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(4) }}",
    "{% macro m() %}{{ n }}{{ later }}{% endmacro %}{% set later = 'L' %}{{ m() }}", "{% macro m(x) -%}\n  {{ x }}\n{%- endmacro %}<{{ m('a') }}>", "{% macro box(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call box('b') %}in {{ n }}{% endcall %}", "{% macro each(xs) %}{% for x in xs %}{{ caller(x) }};{% endfor %}{% endmacro %}{% call(v) each(l) %}{{ v * 2 }}{% endcall %}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ m('a') | upper }}{{ m('a') ~ 'b' }}{{ m('q') | length }}", "{% filter upper %}abc {{ s }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aaa{% endfilter %}", "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}[{{ q }}]",
    "a{% generation %}b é{{ n }}{% endgeneration %}c{% for i in l %}{% generation %}{{ i }}{% endgeneration %},{% endfor %}", "{% generation %}\nx\n{% endgeneration %}\ny", "é{% generation %}{% set z = 1 %}世{{ z }}{% endgeneration %}[{{ z }}]",
    "{{ n }}{{- n -}} {{ n }}", "{{ 1 if n else 2, 3 }}", "{{ (1, 2)[1] }}", "{{ l[n - 6] }}", "{{ s | replace('o', '0') | upper | length + 1 }}", "{{ 'a' if n is odd else 'b' }}", "{{ [1, 2,] }}{{ (1,) }}{{ {'a': 1,} }}", "{{ d.items }}" if False else "{{ d['b'] }}",
    "{{ 'straße ﬁx ŉ ǰ ΐ ᾳ ᾲ ᾶ ᾈ ǆ և İ' | upper }}", "{{ 'İI STRASSE ẞ ᾈ ǅ' | lower }}", "{{ 'ΟΔΟΣ ΑΣ. Σ ΣΑ ΑΣΑ Α\u0301Σ\u0301 ΑΣ’Α ΑΣ-Α 1Σ'.lower() }}", "{{ 'ΑΣ ΟΔΟΣ ß ﬁx ŉ ᾲ ᾶ ǆ İΣ' | title }}", "{{ 'ΑΣ ΟΔΟΣ ßA ﬁx ŉ ΐ ᾳ ᾲ ᾶ ᾷ ǆ ⓐB ⅰX'.title() }}",
    "{{ 'ßAΣ' | capitalize }}{{ 'ﬃX'.capitalize() }}{{ 'ǆ' | capitalize }}{{ 'ΑΣ'.capitalize() }}{{ 'Σ'.capitalize() }}", "{{ 'ßΣς ﬁ ᾳ İ'.casefold() }}", "{{ 'ΑΣ' | sort }}{{ ['ΑΣ', 'ας', 'ασ'] | unique | list }}", "{{ 'ŉ'.islower() }}{{ 'ß'.isupper() }}{{ 'ẞ'.isupper() }}",
    "{{ tab | tojson(ensure_ascii=true) }}{{ tab | tojson }}", "{{ '++5' | int }}",
    "{{ dict(**d) }}{{ dict(z=1, **d) }}{{ dict(d, **{'b': 5}) }}{{ namespace(**{'q': 4}).q }}", "{% macro m(a, b='B') %}{{ a }}{{ b }}{% endmacro %}{{ m(**{'b': 1, 'a': 2}) }}{{ m(5, **{}) }}{{ l | sort(**{'reverse': true}) }}",
    "{{ n.foo }}|{{ none.foo }}|{{ s.foo }}|{{ l.foo }}", "{{ true }}{{ True }}{{ none }}{{ None }}{{ false }}", "{{ 5 // 2 ~ 'x' }}", "{{ -1 | abs }}", "{{ (-1) | abs }}", "{{ 'x' is string and 1 is number }}", "{{ 1.0 }}{{ 1.50 }}{{ 1e100 }}{{ 123456789.123 }}{{ 0.0001 }}{{ 0.00001 }}",
    "{{ d | items | map('first') | join(',') }}", "{{ ['a', 'b'] | map('upper') | list }}", "{{ {'b': 1}.items() | list }}", "{{ x }}{{ x | int }}{{ n | float }}{{ (n / 2) | round | int }}", "{{ 'é世' | length }}{{ '😀a'[0] }}{{ '😀a'[1:] }}",
    # In the manner of the models' own templates.
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<S>>\\n' + system_message + '\\n<</S>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[I] ' + content.strip() + ' [/I]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "{{- bos_token }}\n{%- if custom_tools is defined %}\n    {%- set tools = custom_tools %}\n{%- endif %}\n{%- if not date_string is defined %}\n    {%- set date_string = \"26 Jul\" %}\n{%- endif %}\n{%- if not tools is defined %}\n    {%- set tools = none %}\n{%- endif %}\n{#- A comment. #}\n{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = messages[0]['content']|trim %}\n    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set system_message = \"\" %}\n{%- endif %}\n{{- \"<h>system</h>\\n\\n\" }}\n{%- if tools is not none %}\n    {{- \"Date: \" + date_string + \"\\n\" }}\n    {%- for t in tools %}\n        {{- t | tojson(indent=4) }}\n        {{- \"\\n\\n\" }}\n    {%- endfor %}\n{%- endif %}\n{{- system_message }}\n{%- for message in messages %}\n    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}\n        {{- '<h>' + message['role'] + '</h>' + message['content'] | trim + '<e>' }}\n    {%- elif 'tool_calls' in message %}\n        {%- if not message.tool_calls|length == 1 %}\n            {{- raise_exception(\"one call only\") }}\n        {%- endif %}\n        {%- set tool_call = message.tool_calls[0].function %}\n        {{- tool_call.name + \".call(\" }}\n        {%- for arg_name, arg_val in tool_call.arguments | items %}\n            {{- arg_name + '=\"' ~ arg_val ~ '\"' }}\n            {%- if not loop.last %}\n                {{- \", \" }}\n            {%- endif %}\n        {%- endfor %}\n        {{- \")\" }}\n    {%- elif message.role == \"tool\" or message.role == \"ipython\" %}\n        {%- if message.content is mapping or message.content is iterable %}\n            {{- message.content | tojson }}\n        {%- else %}\n            {{- message.content }}\n        {%- endif %}\n    {%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<h>assistant</h>' }}\n{%- endif %}\n",
    "{%- if messages[0][\"role\"] == \"system\" %}\n    {%- set system_message = messages[0][\"content\"] %}\n    {%- set loop_messages = messages[1:] %}\n{%- else %}\n    {%- set loop_messages = messages %}\n{%- endif %}\n{%- set user_messages = loop_messages | selectattr(\"role\", \"equalto\", \"user\") | list %}\n{%- set ns = namespace() %}\n{%- set ns.index = 0 %}\n{%- for message in loop_messages %}\n    {%- if not (message.role == \"tool\" or message.role == \"tool_results\" or (message.tool_calls is defined and message.tool_calls is not none)) %}\n        {%- set ns.index = ns.index + 1 %}\n    {%- endif %}\n{%- endfor %}\n{{- bos_token }}{{ ns.index }}\n{%- for message in loop_messages %}\n    {%- if message[\"role\"] == \"user\" %}\n        {%- if tools is not none and (message == user_messages[-1]) %}\n            {{- \"[T] [\" }}\n            {%- for tool in tools %}\n                {%- set tool = tool.function %}\n                {{- '{\"type\": \"function\", \"function\": {' }}\n                {%- for key, val in tool.items() if key != \"return\" %}\n                    {%- if val is string %}\n                        {{- '\"' + key + '\": \"' + val + '\"' }}\n                    {%- else %}\n                        {{- '\"' + key + '\": ' + val|tojson }}\n                    {%- endif %}\n                    {%- if not loop.last %}\n                        {{- \", \" }}\n                    {%- endif %}\n                {%- endfor %}\n                {{- \"}}\" }}\n            {%- endfor %}\n            {{- \"]\" }}\n        {%- endif %}\n        {{- \"[I] \" + message[\"content\"] + \"[/I]\" }}\n    {%- elif message.tool_calls is defined and message.tool_calls is not none %}\n        {%- for tool_call in message.tool_calls %}\n            {%- set out = tool_call.function|tojson %}\n            {{- out[:-1] }}\n            {{- ', \"id\": \"x\"}' }}\n        {%- endfor %}\n    {%- elif message[\"role\"] == \"assistant\" %}\n        {{- \" \" + message[\"content\"]|trim + eos_token}}\n    {%- endif %}\n{%- endfor %}\n",
    "{{ bos_token }}{% if messages[0]['role'] == 'developer' %}{{ raise_exception('no') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<t>' + role + '\n' + message['content'] | trim + '</t>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<t>model\n'}}{% endif %}",
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{% generation %}{{ '<|assistant|>\n'  + message['content'] + eos_token }}{% endgeneration %}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    "{%- macro json_to_python_type(spec) %}\n{%- set types = {\"string\": \"str\", \"integer\": \"int\"} %}\n{%- if types[spec.type] is defined %}\n    {{- types[spec.type] }}\n{%- elif spec.type is iterable and spec.type is not string %}\n    {{- \"Union[\" }}\n    {%- for t in spec.type %}\n      {{- json_to_python_type({\"type\": t}) }}\n      {%- if not loop.last %}\n        {{- \",\" }}\n      {%- endif %}\n    {%- endfor %}\n    {{- \"]\" }}\n{%- else %}\n    {{- \"Any\" }}\n{%- endif %}\n{%- endmacro %}\n{%- for tool in tools %}\ndef {{ tool.function.name }}(\n{%- for name, f in tool.function.parameters.properties|items %}{{ name }}: {{ json_to_python_type(f) }}{% if name not in tool.function.parameters.required %} = None{% endif %}{{ ', ' if not loop.last else '' }}{% endfor %}):\n    \"\"\"{{ tool.function.description|replace('\"', \"'\") }}\"\"\"\n{% endfor %}",
    "{%- set ns = namespace(is_first=false, is_tool=false, system_prompt='') -%}\n{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<U>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and 'tool_calls' in message %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}{{'<A><C>' + tool['type'] + '<S>' + tool['function']['name'] + '\n' + '```json' + '\n' + tool['function']['arguments']|tojson + '\n' + '```'}}{%- set ns.is_first = true -%}{%- endif %}{%- endfor %}{%- endif %}{%- if message['role'] == 'assistant' and 'tool_calls' not in message %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<A>' + content}}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{{'<O>' + message['content']}}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'</O>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<A>'}}{% endif %}",
    "{% if (messages | length) > 4 and messages[-1].role == 'user' %}{{ messages[-1]['content'] }}{% endif %}{{ messages | map(attribute='role') | join(' ') }} {{ (messages | last).content }} {{ messages | selectattr('tool_calls', 'defined') | map(attribute='content') | map('trim') | list }}",
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 1) and loop.index0 < 2 %}{{ raise_exception('must alternate') }}{% endif %}{% endfor %}ok",
]
FAILURES = [
    "{{ missing.x }}", "{{ missing[0] }}", "{{ missing() }}", "{{ missing + 1 }}", "{{ 'a' + 1 }}", "{{ 1 + 'a' }}", "{{ none + 'a' }}", "{{ 1 / 0 }}", "{{ 1 % 0 }}", "{{ 1 < 'a' }}", "{{ missing < 1 }}", "{{ 1 in 5 }}", "{{ 1 in 'a' }}", "{% for x in 5 %}{% endfor %}", "{% for x in none %}{% endfor %}",
    "{{ 5 | length }}", "{{ none | length }}", "{{ missing | tojson }}", "{{ l.append(1) }}", "{{ d.update({}) }}", "{{ raise_exception('no') }}", "{{ range(1000000) | length }}", "{% for a, b in l %}{% endfor %}", "{% set a, b = [1] %}", "{% set d.x = 1 %}", "{{ s() }}", "{{ 5() }}", "{{ s.index('zzz') }}", "{{ 'a'.split('') }}", "{{ -s }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(z=2) }}", "{{ l[::0] }}", "{{ '%d' % 'x' }}", "{{ '{}'.format() }}", "{{ s | nofilter }}", "{{ s is notest }}", "{% if %}{% endif %}", "{% if 1 %}", "{% endif %}", "{% for x %}{% endfor %}", "{{ 1 + }}", "{{ (1 }}", "{{ 'a }}", "{{", "{% unknown %}", "{{ a b }}", "{% break %}", "{# x",
    "{{ dict(**l) }}", "{{ dict(b=1, **d) }}", "{{ dict(**missing) }}", "{{ dict(**{1: 2}) }}", "{{ s.join(l) }}", "{{ words | sort | first | nofilter }}", "{{ [1, 'a'] | sort }}", "{{ 1 ~ }}", "{{ @ }}", "{{ {l: 1} }}", "{{ 'x' | round }}", "{{ l | join(', ', attribute=missing.y) }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
]


class Generation(Extension):
    """{% generation %}: its text between two marks that no template prints."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("mark"), [], [], body).set_lineno(line)

    def mark(self, caller):
        return "\x02" + caller() + "\x03"


def raise_exception(message):
    raise TemplateError(message)


def environment():
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    made.globals["raise_exception"] = raise_exception
    return made


def measure(marked):
    """The text without marks, and the ranges of bytes between them."""
    text, spans, begin = b"", [], 0
    for piece in marked.replace("\x02", "\0\x02").replace("\x03", "\0\x03").split("\0"):
        if piece[:1] == "\x02":
            begin = len(text)
        elif piece[:1] == "\x03":
            spans.append([begin, len(text)])
        text += piece.lstrip("\x02\x03").encode()
    return text.decode(), spans


def expressions():
    """Each line of EXPRESSIONS tried in every cut at " | ", longest chains of filters included."""
    made = environment()
    for line in EXPRESSIONS.strip().split("\n"):
        parts = line.split(" | ")
        for begin in range(len(parts)):
            for end in range(begin + 1, min(begin + 5, len(parts)) + 1):
                source = "{{ " + " | ".join(parts[begin:end]) + " }}"
                try:
                    text = made.from_string(source).render(**VALUES, **{})
                except Exception:
                    continue
                if "<generator" in text or "object at 0x" in text or "dict_" in text or "range(" in text or "<built-in" in text:
                    continue
                yield source


def main():
    made = environment()
    variables = {**VALUES, **CHAT}
    seen = set()
    for source in list(expressions()) + TEMPLATES:
        if source in seen:
            continue
        seen.add(source)
        text, spans = measure(made.from_string(source).render(**variables))
        print(json.dumps({"template": source, "text": text, "generation": spans}))
    for source in FAILURES:
        try:
            made.from_string(source).render(**variables)
        except Exception:
            print(json.dumps({"template": source, "fails": True}))
        else:
            raise SystemExit(f"renders after all: {source}")
    print(json.dumps({"variables": variables}))


main()
