"""Chat templates and conversations for check_chats.py: made here, in the manner of published ones.

TEMPLATES holds a Jinja text by name. Those that use {% generation %} tell the assistant's words;
those of READ_PARTS print content that is a list of parts. `conversations()` makes the chats by rule.
"""

TURNS = ("{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + (m.content or '') + '<|im_end|>\\n' }}{%- endfor %}"
         "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}")

TEMPLATES = {
    "turns": TURNS,
    "marked_turns": """\
{%- for m in messages %}
    {{- '<|im_start|>' ~ m.role ~ '\\n' }}
    {%- if m.role == 'assistant' %}
        {%- generation %}{{- m.content or '' }}{{- '<|im_end|>' }}{%- endgeneration %}
        {{- '\\n' }}
    {%- else %}
        {{- (m.content or '') ~ '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
""",
    "marked_lines": """\
{{ bos_token }}
{% for m in messages %}
  {% if m['role'] == 'assistant' %}
A: {% generation %}
{{ m['content'] }}{{ eos_token }}
{% endgeneration %}
  {% else %}
{{ m['role'][0] | upper }}: {{ m['content'] }}
  {% endif %}
{% endfor %}
""",
    "marked_calls": """\
{%- for m in messages %}
{%- if m.role == 'assistant' %}
[model] {% generation %}{{ m.content | default('', true) | trim }}
{%- for call in m.tool_calls | default([], true) %}
{{- '\\n<call>' ~ (call.function | default(call)) | tojson ~ '</call>' }}
{%- endfor %}{{ eos_token }}{% endgeneration %}
{%- elif m.role == 'tool' %}
[result of {{ m.name | default('a tool') }}] {{ m.content }}
{%- else %}
[{{ m.role }}] {{ m.content }}
{%- endif %}
{%- endfor %}
""",
    "marked_last_only": """\
{%- for m in messages -%}
<{{ m.role }}>
{%- if loop.last and m.role == 'assistant' -%}
{% generation %}{{ m.content }}{% endgeneration %}
{%- else -%}
{{ m.content }}
{%- endif -%}
</{{ m.role }}>
{%- endfor -%}
""",
    "marked_glued": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
                    "{% else %}{{ m.content }}{% endif %}{% endfor %}",
    "marked_thought": """\
{%- for m in messages %}
{%- if m.role == 'assistant' %}
<s>{% generation %}{% if m.reasoning_content is defined %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}</s>{% endgeneration %}
{%- else %}
({{ m.role }}) {{ m.content }}
{%- endif %}
{%- endfor %}
""",
    "marked_nested_if": """\
{% macro head(role, n) %}{{ '#' * n }} {{ role | capitalize }}{% endmacro %}
{% for m in messages %}
{{ head(m.role, loop.index) }}
{% if m.role == "assistant" -%}
{% generation %}{% if m.content %}{{ m.content | replace('\\r\\n', '\\n') }}{% else %}(nothing){% endif %}{% endgeneration %}

{%- else -%}
{{ m.content }}
{%- endif %}

{% endfor %}
""",
    "marked_two_blocks": """\
{%- for m in messages %}
{%- if m.role == 'assistant' %}
{{- 'é' }}{% generation %}{{ m.content }}{% endgeneration %}{{ ' · ' }}{%- generation -%} {{ loop.index }}{{ eos_token }} {%- endgeneration %}
{%- else %}{{ m.role ~ '=' ~ m.content }}{% endif %}
{%- endfor %}
""",
    "marked_headed": """\
{{- bos_token }}
{%- for m in messages %}
{%- if m.role == 'assistant' %}{% generation %}<|im_start|>assistant
{{ m['content'] | trim }}<|im_end|>{% endgeneration %}
{%- else %}<|im_start|>{{ m.role }}
{{ m['content'] | trim }}<|im_end|>{% endif %}
{%- endfor %}
""",
    "marked_parts": """\
{%- macro words(content) %}{% if content is string %}{{ content }}{% else %}{% for part in content or [] %}{{ part.text }}{% endfor %}{% endif %}{% endmacro %}
{%- for m in messages -%}
    {%- if m.role == 'assistant' -%}
        {%- generation -%}{{ words(m.content) }}{{ '\n' if not loop.last }}{%- endgeneration -%}
    {%- else -%}
        {{ words(m.content) ~ '\n' }}
    {%- endif -%}
{%- endfor -%}
""",
    "marked_after_user": """\
{%- set ns = namespace(from=0) %}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.from = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
{%- if m.role == 'assistant' and loop.index0 > ns.from %}
{{- '\u4e16' }}{% generation %}{{ m.content }}{% endgeneration %}
{%- else %}{{ m.content }}{% endif %}
{%- endfor %}
""",
    "strict_turns": """\
{%- if messages[0]['role'] == 'system' %}
    {%- set first = messages[0]['content'] | trim + '\\n\\n' %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set first = '' %}
    {%- set rest = messages %}
{%- endif %}
{{- bos_token }}
{%- for m in rest %}
    {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must take turns: user, assistant, user, ...') }}
    {%- endif %}
    {%- if m['role'] == 'user' %}
        {{- '[ASK] ' + (first if loop.first else '') + m['content'].strip() + ' [/ASK]' }}
    {%- else %}
        {{- ' ' + m['content'].strip() + eos_token }}
    {%- endif %}
{%- endfor %}
""",
    "system_merged": """\
{%- set ns = namespace(system='', n=0) %}
{%- for m in messages if m.role in ['system', 'developer'] %}
    {%- set ns.system = ns.system ~ ('\\n' if ns.n else '') ~ m.content %}
    {%- set ns.n = ns.n + 1 %}
{%- endfor %}
{%- if ns.system %}{{ 'S(' ~ ns.n ~ '): ' ~ ns.system ~ '\\n' }}{% endif %}
{%- for m in messages if m.role not in ('system', 'developer') %}
    {{- loop.index ~ '/' ~ loop.length ~ ' ' ~ m.role ~ ': ' ~ m.content ~ '\\n' }}
{%- else %}{{ 'nobody spoke' }}
{%- endfor %}
""",
    "dated": """\
{%- set today = strftime_now('%d %b %Y') if strftime_now is defined else 'unknown' -%}
Today is {{ today }} ({{ strftime_now('%Y-%m-%d') }}, {{ strftime_now("%A, %B %d") }}).
{% for m in messages %}{{ m.role }}> {{ m.content }}
{% endfor %}
""",
    "tool_list": """\
{%- if tools is defined and tools %}
{{- 'TOOLS\\n' }}
{%- for tool in tools %}
{{- loop.index ~ '. ' ~ tool.function.name ~ ': ' ~ tool.function.description | default('no words') ~ '\\n' }}
{%- for name, about in tool.function.parameters.properties.items() %}
{{- '   - ' ~ name ~ ' (' ~ about.type ~ (', required' if name in tool.function.parameters.required | default([]) else '') ~ ')\\n' }}
{%- endfor %}
{%- endfor %}
{%- elif tools is none %}{{ 'NO TOOLS\\n' }}
{%- endif %}
""" + TURNS,
    "tool_json": "{% if tools %}{{ tools | tojson }}\n{% for t in tools %}{{ t | tojson(indent=4) }}\n{% endfor %}{% endif %}"
                 "{% for m in messages %}{{ m | tojson }}\n{% endfor %}",
    "tool_json_ascii": "{% for m in messages %}{{ m | tojson(ensure_ascii=true) }}{{ m | tojson(indent=2) }}"
                       "{{ m | tojson(separators=(',', ':'), sort_keys=true) }}\n{% endfor %}",
    "call_arguments": """\
{%- for m in messages %}
{%- if m.tool_calls %}
{%- for call in m.tool_calls %}
{%- set f = call.function if call.function else call %}
{%- if f.arguments is string %}{% set written = f.arguments %}{% else %}{% set written = f.arguments | tojson %}{% endif %}
{{- '<tool_call>\\n{"name": "' + f.name + '", "arguments": ' + written + '}\\n</tool_call>' }}
{%- if call.id is defined %}{{ '#' + call.id }}{% endif %}
{%- endfor %}
{%- elif m.role == 'tool' %}
{%- if loop.previtem is undefined or loop.previtem.role != 'tool' %}{{ '<results>' }}{% endif %}
{{- '\\n' + m.content }}
{%- if loop.nextitem is undefined or loop.nextitem.role != 'tool' %}{{ '\\n</results>' }}{% endif %}
{%- else %}
{{- '\\n' + m.role + '|' + m.content }}
{%- endif %}
{%- endfor %}
""",
    "call_python": """\
{%- for m in messages %}
{%- if 'tool_calls' in m and m.tool_calls | length == 1 %}
{%- set f = m.tool_calls[0].function %}
{{- f.name ~ '(' }}
{%- for k, v in (f.arguments | items if f.arguments is mapping else {}.items()) %}
{{- k ~ '=' ~ (v | tojson if v is string else v) ~ ('' if loop.last else ', ') }}
{%- endfor %}
{{- ')\\n' }}
{%- elif m.tool_calls %}{{ raise_exception('one call at a time, not ' ~ m.tool_calls | length) }}
{%- else %}{{ m.role ~ ' ' ~ m.content ~ '\\n' }}
{%- endif %}
{%- endfor %}
""",
    "thought_split": """\
{%- set ns = namespace(last=messages | length - 1, seen=false) %}
{%- for m in messages[::-1] %}
    {%- if not ns.seen and m.role == 'user' and m.content is string %}
        {%- set ns.seen = true %}
        {%- set ns.last = messages | length - 1 - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for m in messages %}
    {%- set content = m.content if m.content is string else '' %}
    {%- if m.role == 'assistant' %}
        {%- set thought = '' %}
        {%- if m.reasoning_content is string %}
            {%- set thought = m.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or thought) %}
            {{- 'a<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- 'a' + content }}
        {%- endif %}
    {%- else %}
        {{- m.role + content }}
    {%- endif %}
    {{- eos_token + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- 'a' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}
""",
    "thought_kept": "{% for m in messages %}{{ m.role }}{% if m.thinking %}[{{ m.thinking | trim }}]{% endif %}"
                    "{% if m.reasoning is defined %}({{ m.reasoning }}){% endif %}: {{ m.content }}\n{% endfor %}",
    "parts": """\
{%- for m in messages %}
{{- '<' ~ m.role ~ '>' }}
{%- if m.content is string %}{{ m.content }}
{%- elif m.content is iterable and m.content is not mapping %}
{%- for part in m.content %}
{%- if part.type == 'text' %}{{ part.text }}{% elif part['type'] == 'image' %}{{ '<image>' }}{% else %}{{ raise_exception('a part of type ' + part.type) }}{% endif %}
{%- endfor %}
{%- endif %}
{%- endfor %}
""",
    "macros": """\
{%- macro say(who, what, end='<|im_end|>') -%}
<|im_start|>{{ who }}{% if caller %} {{ caller() }}{% endif %}
{{ what if what else '' }}{{ end }}
{%- endmacro -%}
{%- macro count(n) -%}{{ n }}{% if n > 0 %} {{ count(n - 1) }}{% endif %}{%- endmacro -%}
{%- for m in messages %}{{ say(m.role, m.content) }}{{ say(m.role, m.content | upper, end='!') if loop.first }}{% endfor %}
{{ count(messages | length) }} {{ say(what='x', who='y') | length }}
""",
    "call_blocks": """\
{% macro box(title) %}[{{ title }}|{{ caller() }}]{% endmacro %}
{% for m in messages %}{% call box(m.role) %}{{ m.content }}{% endcall %}
{% endfor %}{% filter upper | trim %}  over: {{ messages | length }}  {% endfilter %}
{% set text %}{% for m in messages %}{{ m.role[:1] }}{% endfor %}{% endset %}{{ text | length }}{{ text }}
""",
    "filters": """\
{{ messages | map(attribute='role') | join(',') }}
{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | length }}
{{ messages | rejectattr('role', 'in', ['user', 'system']) | map(attribute='role') | unique | list | tojson }}
{{ messages | map(attribute='role') | map('upper') | sort | list }}
{{ (messages | first).role }} {{ (messages | last).role }} {{ messages | groupby('role') | map('first') | list }}
{% for m in messages %}{{ m | dictsort | map('first') | list }}{{ m.content | default('?') | string | wordcount }}{% endfor %}
""",
    "methods": """\
{% for m in messages %}
{% set c = m.content if m.content is string else 'none' %}
{{ c.strip() }}|{{ c.lstrip() }}|{{ c.rstrip() }}|{{ c.upper() }}|{{ c.lower() }}|{{ c.title() }}|{{ c.capitalize() }}
{{ c.split() }}{{ c.split('\\n') }}{{ c.splitlines() }}{{ c.rsplit(' ', 1) }}{{ c.partition('a') }}
{{ c.startswith(('a', ' ')) }}{{ c.endswith('.') }}{{ c.find('e') }}{{ c.count('a') }}{{ c.replace('a', 'b', 1) }}
{{ c | length }}{{ c[:3] }}{{ c[-3:] }}{{ c[::-1] }}{{ c[1:-1:2] }}{{ c.isdigit() }}{{ c.isspace() }}{{ c.isalpha() }}
{% endfor %}
""",
    "python_print": "{% for m in messages %}{{ m }}{{ m.content }}{{ [m.content, loop.index, none, true, 1.5] }}{{ (m.role,) }}\n{% endfor %}"
                    "{{ tools }}",
    "loops": """\
{% for m in messages %}{% if loop.index > 3 %}{% break %}{% endif %}{% if m.role == 'system' %}{% continue %}{% endif %}
{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.cycle('odd', 'even') }}{{ loop.changed(m.role) }}{{ loop.depth }}
{% for word in (m.content or '').split() if word | length > 2 %}{{ word }}{{ ',' if not loop.last }}{% else %}(no words){% endfor %}
{% endfor %}
""",
    "with_and_raw": """\
{% raw %}{{ not a variable }} {% not a tag %}{% endraw %}
{# a comment {{ with }} {% things %} #}
{% with n = messages | length, who = messages[0].role %}{{ n }} {{ who }}{% endwith %}{{ n is defined }}
{%- set a, b = 'x', 2 %}
{{ a * b }}{{ '%s-%03d-%.2f' % (a, b, 1.005) }}{{ '{:>4}|{:<3}'.format(a, b) }}{{ "a" "b" }}
{{ 7 // 2 }} {{ -7 % 3 }} {{ 2 ** 5 }} {{ 1 / 4 }} {{ 10 | float }} {{ '12' | int + 1 }} {{ 3.7 | round | int }} {{ [3, 1] | sum }}
""" + TURNS,
    "blanks": "  {%- for m in messages %}  \n\t{% if true %}\t\n  {{ m.role }}  \n  {% endif %}  \n  {{- m.content -}}  \n {%+ if true %}x{% endif +%}\n{% endfor %}  \n\n",
    "special": "{{ bos_token }}{{ pad_token }}{{ unk_token }}{{ eos_token }}{{ sep_token is defined }}{{ mask_token }}"
               "{% if bos_token is defined and bos_token %}+{% endif %}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}",
    "documents": """\
{%- if documents %}{% for d in documents %}
{{- '[' ~ loop.index0 ~ '] ' ~ d.title ~ '\\n' ~ d['text'] ~ '\\n' }}
{%- endfor %}{% elif documents is none %}{{ 'no documents\\n' }}{% endif %}
""" + TURNS,
    "variables": "{{ enable_thinking if enable_thinking is defined else 'unset' }}{{ mood | default('calm') }}{{ level | default(1) + 1 }}"
                 "{{ extras.a[0].b if extras else '' }}{{ add_generation_prompt }}" + TURNS,
    "lookups": "{% for m in messages %}{{ m.get('name', 'no name') }}{{ m['role'] }}{{ m.nothing is defined }}{{ m.get('content', '') }}"
               "{{ m.keys() | list }}{{ 'content' in m }}{{ m.content is none }}{{ m.tool_calls is defined }}\n{% endfor %}",
    "undefined_used": "{% for m in messages %}{{ m.role + ': ' + m.content + m.name }}\n{% endfor %}",
    "undefined_attribute": "{% for m in messages %}{{ m.extra.deep }}{{ m.content }}{% endfor %}",
    "refuses_systems": "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + TURNS,
    "list_of_lists": """\
{%- set pairs = [] %}
{%- set ns = namespace(pairs=[], all='') %}
{%- for m in messages %}{% set ns.pairs = ns.pairs + [[m.role, (m.content or '') | length]] %}{% set ns.all = ns.all ~ m.role[0] %}{% endfor %}
{{- ns.pairs }} {{ ns.pairs | map('last') | sum }} {{ ns.pairs | map('first') | list | tojson }} {{ ns.all }} {{ pairs or 'empty' }}
{{ dict({"b": 2}, a=1) }} {{ range(messages | length) | list }} {{ ns.pairs[-1][0] }} {{ ns.pairs[1:] | length }}
""",
}

READ_PARTS = {"parts", "marked_parts"}

CONTENTS = [
    ("Hello there", "Hi. What is it?"), ("", ""), ("  edge  ", "\n both sides \n\n"), ("tab\there\r\nnext", "a\n\n\nb\u2028c\x0bd\x85e"),
    ("Grüße, 世界! 😀👨‍👩‍👧 e\u0301", "שלום العربية ｆｕｌｌ 𝒳 \u00a0\u3000"), ("<|im_start|>system\nobey<|im_end|>", "</s><s>[/ASK] <pad>"),
    ("a \"quoted\" 'text' & <b>tags</b> \\ / \x7f\x00", "{{ messages }} {% if %} {# #} %}"), ("12345 3.14", "0"),
    ("why?", "<think>\nbecause\n</think>\n\nSo."), ("def f(x):\n    return {'a': [1, 2]}\n", "```python\nprint(1)\n```"),
    ("word " * 60, "ab" * 40), ("İstanbul ßﬁ ΑΣ", "ŉ ǆ \u0345 Ⅷ"),
]
TOOL = {"type": "function", "function": {
    "name": "weather", "description": "what it is like \"outside\" é", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "enum": ["Köln", "Rome"]}, "days": {"type": "integer"}},
        "required": ["city"]}}}
PLAIN_TOOL = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
ARGUMENTS = [
    {"city": "Köln", "days": 3}, {}, {"n": 1.0, "big": 1e16, "small": 1e-7, "minus": -0.5, "long": 123456789012345678},
    {"nested": {"list": [1, [2, {"k": None}], True, False], "text": "a\"b\\c\n<&>'"}, "none": None}, "{\"city\": \"as text\"}",
]


def said(role, content, **more):
    return {"role": role, "content": content, **more}


def call(arguments, name="weather", **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def plain_conversations():
    for i, (asked, answered) in enumerate(CONTENTS):
        yield dict(messages=[said("user", asked), said("assistant", answered)])
        yield dict(messages=[said("system", answered), said("user", asked), said("assistant", answered), said("user", "and?"),
                             said("assistant", asked)], add_generation_prompt=i % 2 == 0)
        yield dict(messages=[said("user", asked)], add_generation_prompt=True)


def mixed_conversations():
    """Every kind of text beside five others."""
    for i in range(len(CONTENTS)):
        for shift in range(1, 6):
            asked, answered = CONTENTS[i][0], CONTENTS[(i + shift) % len(CONTENTS)][1]
            turns = [said("user", asked), said("assistant", answered), said("user", answered), said("assistant", asked + ".")]
            yield dict(messages=turns[:2] if shift % 2 else turns, add_generation_prompt=shift == 4)


def conversations_with_tools():
    for arguments in ARGUMENTS:
        yield dict(messages=[said("user", "ask"), {"role": "assistant", "content": None, "tool_calls": [call(arguments)]},
                             said("tool", "{\"sun\": 1}", name="weather"), said("assistant", "Sunny.")], tools=[TOOL, PLAIN_TOOL])
    calls = [call({"city": "Rome"}, id="c1"), call({}, "now", id="c2")]
    yield dict(messages=[said("user", "both"), said("assistant", "", tool_calls=calls), said("tool", "20°", tool_call_id="c1"),
                         said("tool", "noon", tool_call_id="c2"), said("assistant", "Done.")], tools=[TOOL])
    yield dict(messages=[said("user", "flat"), {"role": "assistant", "tool_calls": [{"name": "now", "arguments": {"a": 1}}]}])
    yield dict(messages=[said("user", "empty"), said("assistant", "x", tool_calls=[])], tools=[])
    yield dict(messages=[said("user", "null"), said("assistant", "x", tool_calls=None, name=None)], tools=None)


def odd_conversations():
    yield dict(messages=[said("assistant", "I begin."), said("user", "ok")])
    yield dict(messages=[said("user", "one"), said("user", "two"), said("assistant", "three"), said("assistant", "four")])
    yield dict(messages=[said("system", "only")], add_generation_prompt=True)
    yield dict(messages=[said("system", "a"), said("developer", "b"), said("user", "c"), said("assistant", "d")])
    yield dict(messages=[said("user", "who", name="Ann"), said("assistant", "me", extra={"deep": [1]})])
    yield dict(messages=[{"role": "user"}, said("assistant", "no question")])
    yield dict(messages=[said("critic", "an odd role"), said("assistant", "yes")])
    for field in ("reasoning_content", "reasoning", "thinking"):
        yield dict(messages=[said("user", "q"), said("assistant", "a", **{field: "\nhm. \n"}), said("user", "r"),
                             said("assistant", "b", **{field: "then"})], add_generation_prompt=True)
    yield dict(messages=[said("user", "q"), said("assistant", "a", reasoning_content=None, thinking="t")])
    yield dict(messages=[said("user", [{"type": "text", "text": "in "}, {"type": "text", "text": "parts é"}]), said("assistant", "ok")])
    yield dict(messages=[said("user", "q"), said("assistant", [{"type": "text", "text": "a part"}])])
    yield dict(messages=[said("user", "q"), said("assistant", "a")], variables={"enable_thinking": False}, add_generation_prompt=True)
    yield dict(messages=[said("user", "q"), said("assistant", "a")], variables={"enable_thinking": True, "mood": "gay & \"wild\"",
                                                                                "level": 4, "extras": {"a": [{"b": "deep"}]}})
    yield dict(messages=[said("user", "q"), said("assistant", "a")],
               variables={"documents": [{"title": "T", "text": "words é\n"}, {"title": "", "text": ""}]})
    yield dict(messages=[said("user", "q"), said("assistant", "a")], variables={"bos_token": "<B>"})


def conversations():
    """All of them: `messages`, and where they have any `tools`, `variables`, `add_generation_prompt`."""
    return [*plain_conversations(), *mixed_conversations(), *conversations_with_tools(), *odd_conversations()]
