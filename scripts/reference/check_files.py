#!/usr/bin/env python3
"""Reads a run's files with the packages that other people read them with.

    check_files.py RUN_FOLDER

Needs the Python packages tensorboard, safetensors and numpy; with xxhash the checksums are checked
too. TensorBoard's reader must give the same numbers as metrics.jsonl, and each safetensors file must
hold what its manifest says and be, byte for byte, what the Python package would write.
"""

import json
import pathlib
import sys

import numpy
from safetensors import safe_open
from safetensors.numpy import save as save_tensors
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

try:
    import xxhash
except ImportError:
    xxhash = None

DTYPES = {"f32": numpy.float32, "f64": numpy.float64, "i32": numpy.int32, "u32": numpy.uint32}


def check(condition, message):
    if not condition:
        sys.exit(f"FAILED: {message}")


def check_events(run):
    """Compares TensorBoard's scalars with metrics.jsonl; steps redone after a resume count once."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines]
    check(steps == sorted(set(steps)), "metrics.jsonl has a step twice or out of order")

    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    compared = 0
    seen = {}
    logged = {tag for line in lines for tag in line}
    for tag in logged.intersection(events.Tags()["scalars"]):
        for event in events.Scalars(tag):
            check((event.step, tag) not in seen,
                  f"TensorBoard reads {tag} of step {event.step} twice")
            seen[event.step, tag] = event.value
    for line in lines:
        for tag, value in line.items():
            if tag in ("step", "time") or value is None:
                continue
            check((line["step"], tag) in seen, f"TensorBoard lacks {tag} of step {line['step']}")
            read = seen[line["step"], tag]
            check(numpy.float32(value) == numpy.float32(read),
                  f"{tag} of step {line['step']} is {value}, TensorBoard reads {read}")
            compared += 1
    check(compared > 0, "metrics.jsonl has no numbers")
    print(f"tensorboard: {compared} numbers over {len(lines)} steps agree with metrics.jsonl")


def check_checkpoint(folder):
    """Compares one step folder's safetensors files with its manifest and the package's writer."""
    manifest = json.loads((folder / "manifest.json").read_text())
    stored = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(str(path), framework="np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            metadata = file.metadata()
        check(save_tensors(tensors, metadata) == path.read_bytes(),
              f"{path} is not what the safetensors package writes")
        stored.update((name, (path.name, tensor)) for name, tensor in tensors.items())
    check(set(stored) == set(manifest["tensors"]), f"{folder}: the manifest names other tensors")
    for name, record in manifest["tensors"].items():
        file_name, tensor = stored[name]
        check(tensor.dtype == DTYPES[record["dtype"]], f"{folder}: {name} has another dtype")
        check(list(tensor.shape) == record["shape"], f"{folder}: {name} has another shape")
        if xxhash and len(record["slices"]) == 1:
            check(xxhash.xxh3_64_hexdigest(tensor.tobytes()) == record["slices"][0]["xxh3"],
                  f"{folder}: {name} does not match its checksum")
    hashed = None
    if xxhash:
        hashed = xxhash.xxh3_128()
        parameters = sorted((name.encode(), tensor) for name, (file_name, tensor) in stored.items()
                            if file_name.startswith("model"))
        for _, tensor in parameters:
            hashed.update(tensor.astype("<f4").tobytes())
        hashed = hashed.hexdigest()
    print(f"safetensors: {folder.name}: {len(stored)} tensors agree"
          + (f", params_hash {hashed}" if hashed else ""))
    return hashed


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run = pathlib.Path(sys.argv[1])
    check_events(run)
    folders = sorted((run / "checkpoints").glob("step-*"), key=lambda p: int(p.name[5:]))
    check(folders, "the run has no checkpoint")
    hashes = [check_checkpoint(folder) for folder in folders]
    summary = json.loads((run / "summary.json").read_text())
    if hashes[-1] and "params_hash" in summary:
        check(summary["params_hash"] == hashes[-1], "summary.json has another params_hash")
        print("summary.json: params_hash agrees")


if __name__ == "__main__":
    main()
