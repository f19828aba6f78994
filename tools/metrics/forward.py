"""Forwards a run folder's metrics.jsonl to TensorBoard or Weights & Biases, while the run writes it or afterwards.

    python tools/metrics/forward.py runs/mine --tensorboard boards/mine [--follow]      # needs nothing installed
    pip install wandb && python tools/metrics/forward.py runs/mine --wandb PROJECT [--follow]

Every number of a line becomes a scalar at its step, those of its `time` object under `time/`. A resumed run cuts metrics.jsonl back to its last
checkpoint; with --follow the file is then forwarded from its beginning again, and the later values of a step count. --follow ends once results.json is there and
all lines are forwarded. Weights & Biases gets the resolved configuration (config.toml) too; WANDB_MODE=offline works as usual.
"""
import argparse
import json
import math
import pathlib
import struct
import time
import tomllib


def scalars(line):
    """A line's step, and its numbers by name."""
    record = json.loads(line)
    found = {}
    for key, value in record.items():
        for name, number in value.items() if isinstance(value, dict) else [("", value)]:
            if isinstance(number, (int, float)) and not isinstance(number, bool) and key != "step":
                found[f"{key}/{name}" if name else key] = float(number)
    return record["step"], found


def lines(run, follow):
    """The whole lines of metrics.jsonl; with `follow` also those still to come."""
    path, place = run / "metrics.jsonl", 0
    while True:
        # Asked before reading: what is written afterwards is read in the next round.
        done = not follow or (run / "results.json").exists()
        if path.exists():
            if path.stat().st_size < place:
                place = 0  # cut back by a resumed run
            with open(path, "rb") as file:
                file.seek(place)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    place += len(line)
                    yield line
        if done:
            return
        time.sleep(1)


def crc32c(data, table=[]):
    """The checksum of TensorBoard's records."""
    if not table:
        for byte in range(256):
            for _ in range(8):
                byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
            table.append(byte)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def record(data):
    """A record of an event file: length and content, each with its masked checksum."""
    masked = lambda data: struct.pack("<I", ((crc := crc32c(data)) >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF)
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def field(number, data):
    """A length-delimited field of a protocol buffer."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def event(wall, step, numbers):
    """An `Event` with a `Summary` of simple values."""
    values = b"".join(
        field(1, field(1, name.encode()) + varint(2 << 3 | 5) + struct.pack("<f", max(min(number, 3.4e38), -3.4e38) if math.isfinite(number) else number))
        for name, number in numbers.items()
    )
    return varint(1 << 3 | 1) + struct.pack("<d", wall) + varint(2 << 3) + varint(step) + field(5, values)


def to_tensorboard(run, folder, follow):
    folder.mkdir(parents=True, exist_ok=True)
    started = (run / "config.toml").stat().st_mtime if (run / "config.toml").exists() else time.time()
    with open(folder / f"events.out.tfevents.{int(time.time())}.{run.name}", "xb") as out:
        out.write(record(varint(1 << 3 | 1) + struct.pack("<d", started) + field(3, b"brain.Event:2")))
        for line in lines(run, follow):
            step, numbers = scalars(line)
            out.write(record(event(started + numbers.get("time/elapsed_seconds", 0.0), step, numbers)))
            out.flush()


def to_wandb(run, project, follow):
    import wandb

    config = tomllib.loads((run / "config.toml").read_text()) if (run / "config.toml").exists() else {}
    tracker = wandb.init(project=project, name=run.name, config=config)
    # Steps that a resumed run takes again may go back, which W&B's own step does not.
    tracker.define_metric("*", step_metric="step")
    for line in lines(run, follow):
        step, numbers = scalars(line)
        tracker.log({**numbers, "step": step})
    tracker.finish()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path, help="the run folder")
    parser.add_argument("--tensorboard", type=pathlib.Path, metavar="FOLDER", help="where an event file goes")
    parser.add_argument("--wandb", metavar="PROJECT")
    parser.add_argument("--follow", action="store_true", help="go on until the run is finished")
    args = parser.parse_args()
    if bool(args.tensorboard) == bool(args.wandb):
        parser.error("give --tensorboard or --wandb")
    if not args.run.is_dir():
        parser.error(f"{args.run} is not a run folder")
    if args.tensorboard:
        to_tensorboard(args.run, args.tensorboard, args.follow)
    else:
        to_wandb(args.run, args.wandb, args.follow)


if __name__ == "__main__":
    main()
