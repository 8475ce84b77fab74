r"""The published chat templates in Jinja, as a trained model carries them: it is asked as it was trained.

What is learned stands between {% generation %} and {% endgeneration %}, so that transformers'
`apply_chat_template(..., return_assistant_tokens_mask=True)` marks the tokens that were trained.

Below, each line is one piece of Jinja, and `role: expression` (or `turn: expression`, of any role) one that may be
learned: a turn's words with what ends it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from core.tokens.templates import ALPACA_TASK, ALPACA_TASK_WITH_INPUT, ROLES, TURN_END, TURN_START

CHATML = rf"""
{{{{ '{TURN_START}' + turn.role + '\n' }}}}
turn: turn.content + '{TURN_END}'
{{{{ '\n' }}}}
"""
CHATML_EOS = """
{% if loop.last and turn.role == 'assistant' and not add_generation_prompt %}
assistant: eos_token
{% endif %}
"""
LLAMA2 = r"""
{% if turn.role == 'system' %}
{{ bos_token + '[INST] <<SYS>>\n' }}
system: turn.content + '\n<</SYS>>\n\n'
{% elif turn.role == 'user' and after_system %}
user: turn.content.rstrip() + ' [/INST]'
{% elif turn.role == 'user' %}
{{ bos_token + '[INST] ' }}
user: turn.content.strip() + ' [/INST]'
{% else %}
assistant: ' ' + turn.content.strip() + ' ' + eos_token
{% endif %}
"""
MISTRAL = r"""
{% if turn.role == 'system' %}
{{ ' [INST] ' }}
system: turn.content + '\n\n'
{% elif turn.role == 'user' %}
{% if not after_system %}{{ ' [INST] ' }}{% endif %}
user: turn.content + ' [/INST]'
{% else %}
assistant: ' ' + turn.content + eos_token
{% endif %}
"""
ALPACA = rf"""
{{% if turn.role == 'system' %}}
{{{{ {json.dumps(ALPACA_TASK_WITH_INPUT)} + '### Instruction:\n' }}}}
system: turn.content + '\n\n'
{{% elif turn.role == 'user' %}}
{{% if after_system %}}
{{{{ '### Input:\n' }}}}
{{% else %}}
{{{{ ({json.dumps(ALPACA_TASK)} if loop.first else '\n\n') + '### Instruction:\n' }}}}
{{% endif %}}
user: turn.content + '\n\n'
{{% else %}}
{{{{ '### Response:\n' }}}}
assistant: turn.content + eos_token
{{% endif %}}
"""
BIRBAL = r"""
{% if turn.role == 'system' and turn.content.strip() %}
{{ '### Instruction:\n' }}
system: turn.content + '\n\n'
{% elif turn.role == 'user' %}
{{ '\n\n### Input:\n' if loop.index0 > 1 else '### Input:\n' }}
user: turn.content + '\n\n'
{% elif turn.role == 'assistant' %}
{{ '### Response:\n' }}
assistant: turn.content + eos_token
{% endif %}
"""
BODIES = {"llama2": LLAMA2, "mistral": MISTRAL, "alpaca": ALPACA, "birbal": BIRBAL}
PROMPTS = {  # where a generation prompt is more than the end of the user's turn
    "chatml": rf"{TURN_START}assistant\n",
    "alpaca": r"### Response:\n",
    "birbal": r"### Response:\n",
}
JOINED_TURNS = rf"""
{{% set ns = namespace(turns=[], last=-1) %}}
{{% for message in messages %}}
{{% if message.role not in {list(ROLES)} %}}{{{{ raise_exception('Roles are {", ".join(ROLES)}') }}}}{{% endif %}}
{{% if ns.turns and ns.turns[-1].role == message.role %}}
{{% set words = ns.turns[-1].content + '\n\n' + message.content %}}
{{% set ns.turns = ns.turns[:-1] + [{{'role': message.role, 'content': words}}] %}}
{{% else %}}
{{% set ns.turns = ns.turns + [message] %}}
{{% endif %}}
{{% endfor %}}
{{% set first = 1 if ns.turns[0].role == 'system' else 0 %}}
"""
BY_TURNS = """
{% if loop.index0 >= first and turn.role != ('user' if (loop.index0 - first) % 2 == 0 else 'assistant') %}
{{ raise_exception('After an optional system turn, user and assistant must speak by turns') }}
{% endif %}
{% set after_system = first == 1 and loop.index0 == 1 %}
"""


def jinja_template(
    template: str,
    *,
    bos: bool,
    eos: bool,
    learn_roles: Sequence[str] = ("assistant",),
    learn_turns: str = "all",
    system_prompt: str | None = None,
) -> str:
    """The Jinja source of one of TEMPLATES (core/tokens/templates.py).

    bos: whether a dialogue begins with BOS (of llama2, each exchange does anyhow); eos: whether EOS ends a dialogue of
    chatml. learn_roles, learn_turns, system_prompt: as in PhaseData.
    """
    if template == "chatml":
        turns, body = "{% set ns = namespace(turns=messages, last=-1) %}", CHATML + (CHATML_EOS if eos else "")
    else:
        turns, body = JOINED_TURNS, BY_TURNS + BODIES[template]
    if learn_turns == "last":
        find = f"{{% if turn.role in {list(learn_roles)} %}}{{% set ns.last = loop.index0 %}}{{% endif %}}"
        turns += f"{{% for turn in ns.turns %}}{find}{{% endfor %}}"
    begin = "{{ bos_token }}" if bos and template != "llama2" else ""
    loop = f"{{% for turn in ns.turns %}}\n{body}\n{{% endfor %}}"
    if template in PROMPTS:
        loop += f"{{% if add_generation_prompt %}}{{{{ '{PROMPTS[template]}' }}}}{{% endif %}}"
    lines = f"{turns}\n{begin}\n{loop}".splitlines()
    return with_system_prompt("".join(_piece(line, learn_roles, learn_turns) for line in lines), system_prompt)


def with_system_prompt(template: str, system_prompt: str | None) -> str:
    """A Jinja chat template that puts the system prompt before dialogues that have no system turn."""
    if system_prompt is None:
        return template
    absent = "messages | selectattr('role', 'equalto', 'system') | list | length == 0"
    turn = f"{{'role': 'system', 'content': {json.dumps(system_prompt, ensure_ascii=False)}}}"
    return f"{{% if {absent} %}}{{% set messages = [{turn}] + messages %}}{{% endif %}}{template}"


def _piece(line: str, learn_roles: Sequence[str], learn_turns: str) -> str:
    """A line of Jinja; `role: expression`, or `turn: expression` for any role, marked where it is learned."""
    words = re.fullmatch(rf"(turn|{'|'.join(ROLES)}): (.*)", line)
    if words is None:
        return line
    put = f"{{{{ {words[2]} }}}}"
    conditions = [f"turn.role in {list(learn_roles)}"] if words[1] == "turn" else []
    conditions += ["loop.index0 == ns.last"] if learn_turns == "last" else []
    if words[1] not in ("turn", *learn_roles):
        return put
    learned = f"{{% generation %}}{put}{{% endgeneration %}}"
    if not conditions:
        return learned
    return f"{{% if {' and '.join(conditions)} %}}{learned}{{% else %}}{put}{{% endif %}}"
