#!/usr/bin/env python3
"""Compares chats as levanter writes and masks them with Transformers' apply_chat_template.

usage: check_chats.py LEVANTER [TEMPLATE.jinja | FOLDER | CHATS.jsonl[.gz]]...

Every template of chat_cases.py, and every further one (a file, or a tokenizer's folder with its own),
writes every conversation there, and those of the further files of records {"messages", "tools"}. A
small byte-level tokenizer is made, so that `levanter cache inspect --json` shows each text to the byte.
Texts and ids must be equal, and what Transformers refuses levanter must refuse. Of templates with
{% generation %} the masks must be equal too; a chat without a word to learn is refused.
Content in parts goes to a template that reads no parts as its texts, a line each (docs/chat.md): then
Transformers is given those.
needs transformers and tokenizers
"""
import copy
import datetime
import gzip
import json
import os
import subprocess
import sys
import tempfile

import tokenizers
import transformers
from transformers.utils import chat_template_utils

import chat_cases

DATE = "2024-07-26"
SHOWN = 5  # differences of a template that are printed in full
NUMBER = "{{ case_number }}|\n"  # before each template: which conversation a text is of


class FixedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromisoformat(DATE)


def make_tokenizer(folder, chats):
    """A byte-level BPE of a few merges, with the special tokens that templates write."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=700, show_progress=False, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"])
    made.train_from_iterator((json.dumps(chat, ensure_ascii=False) for chat in chats), trainer)
    whole = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"], clean_up_tokenization_spaces=False)
    whole.save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


def parts_as_lines(messages):
    messages = copy.deepcopy(messages)
    for message in messages:
        if isinstance(message.get("content"), list):
            message["content"] = "\n".join(part["text"] for part in message["content"])
    return messages


def theirs(tokenizer, template, chat, number, reads_parts):
    """Text, ids and mask by Transformers; None where it refuses the chat."""
    variables = dict(chat.get("variables", {}))
    arguments = dict(tools=chat.get("tools"), documents=variables.pop("documents", None),
                     add_generation_prompt=chat.get("add_generation_prompt", False), chat_template=template,
                     case_number=number, **variables)
    messages = chat["messages"] if reads_parts else parts_as_lines(chat["messages"])
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, **arguments)
        made = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True,
                                             return_assistant_tokens_mask="{% generation" in template, **arguments)
    except Exception:  # a template may raise anything
        return None
    return text, made["input_ids"], made.get("assistant_masks")


# What Transformers' call takes by name can't be a variable of a record's, so it comes by another name.
BY_OTHER_NAMES = """{% set add_generation_prompt = generates | default(false) %}
"""


def record_of(chat, number):
    variables = dict(chat.get("variables", {}), case_number=number)
    if "add_generation_prompt" in chat:
        variables["generates"] = chat["add_generation_prompt"]
    record = {"messages": chat["messages"], "chat_template_kwargs": variables}
    return {**record, "tools": chat["tools"]} if "tools" in chat else record


def ours(levanter, place, template, chats, masked):
    """Text, ids and mask by levanter, by the conversation's number; those that it refuses are missing."""
    path = os.path.join(place, "t.jinja")
    with open(path, "w", newline="") as file:
        file.write(BY_OTHER_NAMES + template)
    with open(os.path.join(place, "chats.jsonl"), "w") as file:
        for number, chat in enumerate(chats):
            file.write(json.dumps(record_of(chat, number)) + "\n")
    with open(os.path.join(place, "run.toml"), "w") as file:
        file.write(f'''[model]
type = "gpt2"
max_seq_len = 1048576
hidden_dim = 8
num_layers = 1
num_heads = 1
[data]
tokenizer = {{ type = "hf", path = "tokenizer" }}
on_bad_record = "skip"
[data.components.c]
train = ["chats.jsonl"]
format = {{ type = "chat", chat_template = "t.jinja", date = "{DATE}", mask_user_turns = {str(masked).lower()} }}
pack = "best_fit"
''')
    run = subprocess.run([levanter, "cache", "inspect", "--config", os.path.join(place, "run.toml"), "--json",
                          "--documents", str(len(chats))], capture_output=True)
    if run.returncode != 0:
        sys.exit(f"levanter cache inspect ended with {run.returncode}\n{run.stderr.decode()}")
    found = {}
    for line in run.stdout.decode().split("\n"):
        if line:
            made = json.loads(line)
            found[int(made["text"].split("|")[0])] = made["text"], made["ids"], made["loss_weights"]
    return found


class Counts:
    texts = refused = masks = empty = wrong = 0

    def differ(self, name, chat, what, our, their):
        self.wrong += 1
        print(f"  {name}: {what} of {json.dumps(chat)[:400]}\n    levanter      {ascii(our)[-1500:]}\n"
              f"    transformers  {ascii(their)[-1500:]}")


def compare_texts(counts, name, chats, our, their):
    for number, chat in enumerate(chats):
        made, right = our.get(number), their[number]
        if (made is None) != (right is None) or (made and made[:2] != right[:2]):
            counts.differ(name, chat, "the text", made and made[:1], right and right[:1])
        elif made is None:
            counts.refused += 1
        else:
            counts.texts += 1


def compare_masks(counts, name, chats, our, their):
    for number, chat in enumerate(chats):
        right = their[number] and their[number][2]
        made = number in our and [int(weight) for weight in our[number][2]]
        if right and any(right):
            counts.masks += made == right
            if made != right:
                counts.differ(name, chat, "the mask", made, right)
        elif right:
            counts.empty += 1
            if made:
                counts.differ(name, chat, "a mask where nothing is learned", made, right)


def further(paths):
    """The templates, by name, and the chats of the files named on the command line."""
    templates, chats = {}, []
    for path in paths:
        if os.path.isdir(path):
            own = transformers.AutoTokenizer.from_pretrained(path).chat_template
            templates.update({path: own} if isinstance(own, str) else {f"{path} {k}": v for k, v in (own or {}).items()})
        elif path.endswith(".jinja"):
            with open(path, newline="") as file:
                templates[path] = file.read()
        else:
            with (gzip.open if path.endswith(".gz") else open)(path, "rt") as file:
                chats += [{k: r[k] for k in ("messages", "tools") if k in r} for r in map(json.loads, file)]
    return templates, chats


def main(levanter, paths):
    transformers.logging.set_verbosity_error()
    chat_template_utils.datetime = FixedDate
    templates, chats = further(paths)
    templates = {**chat_cases.TEMPLATES, **templates}
    chats = chat_cases.conversations() + chats
    counts = Counts()
    with tempfile.TemporaryDirectory() as place:
        tokenizer = make_tokenizer(os.path.join(place, "tokenizer"), chats)
        for name, source in templates.items():
            template = NUMBER + source
            reads = name in chat_cases.READ_PARTS
            before = counts.wrong
            their = [theirs(tokenizer, template, chat, n, reads) for n, chat in enumerate(chats)]
            compare_texts(counts, name, chats, ours(levanter, place, template, chats, False), their)
            if "{% generation" in source or "{%- generation" in source:
                compare_masks(counts, name, chats, ours(levanter, place, template, chats, True), their)
            if counts.wrong > before:
                print(f"{name}: {counts.wrong - before} differences", flush=True)
    print(f"transformers {transformers.__version__}: {len(templates)} templates, {len(chats)} conversations: {counts.texts} texts "
          f"and {counts.masks} masks are equal, {counts.refused} chats refused by both, {counts.empty} chats without a word to "
          f"learn; {counts.wrong} differences")
    return 1 if counts.wrong else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(os.path.abspath(sys.argv[1]), sys.argv[2:]))
