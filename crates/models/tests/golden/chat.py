"""Writes chat.json: what transformers makes of chat templates that use what real ones use.

Versions: transformers 5.24.0, jinja2 3.1.6. Run: python chat.py (in this folder).
"""
import json
import pathlib

import tokenizers
from transformers import PreTrainedTokenizerFast

here = pathlib.Path(__file__).parent
inner = tokenizers.Tokenizer.from_file(str(here.parent / "fixtures" / "stories260K" / "tokenizer.json"))

CHATML = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful assistant.<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""

# Blocks on lines of their own, a header from a loop over special roles, BOS written by the template, trimmed contents.
HEADERS = """{{- bos_token }}
{%- if custom_date is defined %}
    {%- set date = custom_date %}
{%- else %}
    {%- set date = strftime_now("%d %b %Y") %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start|>system<|end|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today: " + date + "\\n\\n" }}
{{- system_message }}
{{- "<|eot|>" }}
{%- if tools is not none %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start|>' + message['role'] + '<|end|>\\n\\n'+ message['content'] | trim + '<|eot|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("Only single tool calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start|>assistant<|end|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot|>" }}
    {%- else %}
        {{- "<|start|>ipython<|end|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start|>assistant<|end|>\\n\\n' }}
{%- endif %}
"""

# A namespace, a reversed loop, methods of strings, reasoning split from contents, a switch given as a variable.
THINKING = """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or reasoning_content) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

# Strict alternation, refused otherwise; a system message put into the first turn.
STRICT = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate user/assistant') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = system_message + '\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + eos_token }}{% endif %}{% endfor %}"""

# Blocks that say what the assistant wrote; a macro; contents as a list of parts; trim_blocks and lstrip_blocks at work.
GENERATION = """{% macro parts(content) -%}
  {%- if content is string -%}{{ content }}{%- else -%}
    {%- for part in content if part.type == 'text' -%}{{ part['text'] }}{%- endfor -%}
  {%- endif -%}
{%- endmacro %}
{% for message in messages %}
  {% if message.role == 'assistant' %}
<|assistant|>
{% generation %}{{ parts(message.content) }}<|end|>
{% endgeneration %}
  {% else %}
<|{{ message.role }}|>
{{ parts(message.content) }}<|end|>
  {% endif %}
{% endfor %}
{% if add_generation_prompt %}
<|assistant|>
{% endif %}
"""

# Values printed as Python prints them, loop controls, set blocks, defaults, joins, formatting.
VALUES = """{{ true }} {{ none }} {{ 1.5 }} {{ 3 }} {{ ['a', "it's", 1, none, true] }} {{ {'k': [1, 2.0], 'q': '"'} }}
{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}

{% set text %}block {{ messages|length }}{% endset %}{{ text|upper }} {{ missing|default('d') }} {{ missing }}|
{{ messages|map(attribute='role')|join(', ') }} {{ messages|selectattr('role', 'equalto', 'user')|list|length }}
{{ messages[0].extra | tojson }} {{ messages[0].extra | tojson(indent=2) }} {{ "<a & 'b'>é" | tojson }} {{ "é" | tojson(ensure_ascii=true) }}
{{ "x".join(['1', '2']) }} {{ 'a-b'.replace('-', '+') }} {{ messages[0].get('nothing', 'none there') }} {{ messages[0]['extra'].items()|list|length }}
{% if messages[-1]['role'] in ['user', 'tool'] and not messages[-1].nothing %}yes{% else %}no{% endif %} {{ 'Ab c'.title() }} {{ messages[0].extra|string }} {{ 7 // 2 }} {{ 7 % 4 }} {{ "a" ~ 1 }}
{%- for key, value in messages[0].extra|items %} {{ key }}={{ value }}{% endfor %}"""

TALK = [
    {"role": "system", "content": "  Be brief. "},
    {"role": "user", "content": "Hi <b>& 'you'</b>\n"},
    {"role": "assistant", "content": "Once upon a time"},
    {"role": "user", "content": "And then? é 😀"},
]
ANSWERED = TALK + [{"role": "assistant", "content": "<think>\nHm.\n</think>\n\nThe end."}]
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds <numbers> & more", "parameters": {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "integer"}}, "required": []}}}]
CALLED = [
    {"role": "user", "content": "2+3?"},
    {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"b": 3, "a": 2}}}]},
    {"role": "tool", "content": {"z": 5, "exact": True}},
]
PARTS = [
    {"role": "user", "content": [{"type": "text", "text": "One "}, {"type": "image"}, {"type": "text", "text": "day"}]},
    {"role": "assistant", "content": "there was"},
    {"role": "user", "content": "What?"},
    {"role": "assistant", "content": [{"type": "text", "text": "a cat"}]},
]
EXTRA = [{"role": "user", "content": "x", "extra": {"z": 1, "a": [True, None, 1.0], "text": "line\n\"q\" <é>"}}, {"role": "tool", "content": ""}]

CASES = [
    ("chatml", CHATML, TALK, True, {}),
    ("chatml without a generation prompt", CHATML, TALK[1:], False, {}),
    ("headers", HEADERS, TALK, True, {"custom_date": "26 Jul 2024"}),
    ("headers with tools", HEADERS, CALLED, True, {"custom_date": "26 Jul 2024", "tools": TOOLS}),
    ("thinking", THINKING, ANSWERED, False, {}),
    ("thinking is off", THINKING, ANSWERED[:-1], True, {"enable_thinking": False}),
    ("reasoning under another name", THINKING, TALK + [{"role": "assistant", "reasoning": "Hm", "content": "Yes."}], False, {}),
    ("strict", STRICT, TALK, True, {}),
    ("strict refuses", STRICT, TALK + TALK[-1:], True, {}),
    ("generation", GENERATION, PARTS, False, {}),
    ("generation with a prompt", GENERATION, TALK, True, {}),
    ("values", VALUES, EXTRA, True, {}),
]

out = []
for name, template, messages, prompt, variables in CASES:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", chat_template=template)
    case = {"name": name, "template": template, "messages": messages, "generation_prompt": prompt, "variables": variables}
    arguments = dict(variables)
    tools = arguments.pop("tools", None)
    try:
        case["text"] = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=prompt, **arguments)
        marked = tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=True, add_generation_prompt=prompt, return_dict=True,
            return_assistant_tokens_mask="endgeneration" in template, **arguments)
        case["tokens"] = marked["input_ids"]
        if "assistant_masks" in marked:
            case["assistant"] = marked["assistant_masks"]
    except Exception as error:
        case["error"] = str(error)
    out.append(case)
(here / "chat.json").write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")
for case in out:
    print("==", case["name"]); print(case.get("text", case.get("error")))
