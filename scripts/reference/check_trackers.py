"""Reads what the trackers wandb and tensorboard have written with the packages that those files are for.

    pip install wandb tensorboard
    python scripts/reference/check_trackers.py logs/RUN

Prints what was found, and ends with 1 where the config, a step or the end is missing; of a run with trainer.watch's
histograms or trainer.sample where these are missing or broken.
"""

import glob
import json
import struct
import sys
import zlib

BLOCK, HEAD = 32768, 7


def asked_for(folder):
    """Whether the run has histograms and samples by its config."""
    import tomllib

    trainer = tomllib.load(open(f"{folder}/config.toml", "rb"))["trainer"]
    watch = trainer.get("watch", {})
    every = lambda table: isinstance(table.get("every"), int)
    return every(watch) and "histogram" in watch["what"], every(trainer.get("sample", {}))


def records(path):
    """The records of a .wandb file: LevelDB's framing with the crc32 of zlib."""
    data = open(path, "rb").read()
    assert data[:7] == b":W&B\xe1\xbe\x00", data[:7]
    at, record = 7, b""
    while at + HEAD <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEAD:
            at += left
            continue
        crc, size, kind = struct.unpack("<IHB", data[at : at + HEAD])
        piece = data[at + HEAD : at + HEAD + size]
        assert zlib.crc32(bytes([kind]) + piece) == crc, f"crc at {at}"
        at += HEAD + size
        record += piece
        if kind in (1, 4):
            yield record
            record = b""


def check_wandb(folder):
    import wandb
    from wandb.proto import wandb_internal_pb2 as pb

    histograms, samples = 0, 0

    for path in sorted(glob.glob(f"{folder}/wandb/offline-run-*/run-*.wandb")):
        kinds, steps, code, config = {}, [], None, {}
        for number, bytes_ in enumerate(records(path), 1):
            record = pb.Record()
            record.ParseFromString(bytes_)
            assert record.num == number, (record.num, number)
            kind = record.WhichOneof("record_type")
            kinds[kind] = kinds.get(kind, 0) + 1
            if kind == "run":
                config = {i.key: json.loads(i.value_json) for i in record.run.config.update}
                print(f"run {record.run.run_id} {record.run.display_name!r} of {record.run.project!r}")
            if kind == "history":
                row = {i.nested_key[0]: json.loads(i.value_json) for i in record.history.item}
                assert row["_step"] == record.history.step.num
                steps.append((row["_step"], row.get("train/loss")))
                for name, value in row.items():
                    samples += name.startswith("samples/") and isinstance(value, str)
                    if not isinstance(value, dict):
                        continue
                    assert value["_type"] == "histogram", (name, value)
                    read = wandb.Histogram(np_histogram=(value["values"], value["bins"]))
                    assert read.to_json() == value, (name, value)
                    histograms += 1
            if kind == "exit":
                code = record.exit.exit_code
        print(f"{path}: {kinds}, {len(config)} keys, last step {steps[-1] if steps else None}, exit {code}")
        assert config and steps and code is not None
    print(f"wandb: {histograms} histograms, {samples} samples")
    wanted = asked_for(folder)
    assert (histograms > 0) == wanted[0] and (samples > 0) == wanted[1], wanted


def check_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    events = EventAccumulator(f"{folder}/tensorboard").Reload()
    print("tensorboard:", {kind: len(tags) for kind, tags in events.Tags().items() if isinstance(tags, list)})
    assert "train/loss" in events.Tags()["scalars"]
    text = events.Tensors("config")[0].tensor_proto.string_val[0].decode()
    assert "| trainer.seed |" in text, text[:200]
    wanted = asked_for(folder)
    tags = events.Tags()["histograms"]
    for tag in tags:
        for event in events.Histograms(tag):
            h = event.histogram_value
            assert len(h.bucket) == len(h.bucket_limit) == 31 and sum(h.bucket) == h.num, tag
            assert h.min <= h.bucket_limit[0] and h.bucket_limit[-1] == h.max or h.min == h.max, tag
    written = [tag for tag in events.Tags()["tensors"] if tag.startswith("samples/")]
    print(f"histograms: {len(tags)} tags, samples: {[len(events.Tensors(tag)) for tag in written]}")
    assert bool(tags) == wanted[0] and bool(written) == wanted[1], wanted
    plugins = events.PluginTagToContent("hparams")
    start = plugin_data_pb2.HParamsPluginData.FromString(plugins["_hparams_/session_start_info"])
    end = plugin_data_pb2.HParamsPluginData.FromString(plugins["_hparams_/session_end_info"])
    keys = start.session_start_info.hparams
    print(f"hparams: {len(keys)} keys, seed {keys['trainer.seed'].number_value}, status {end.session_end_info.status}")
    assert len(keys) > 5


check_wandb(sys.argv[1])
check_tensorboard(sys.argv[1])
