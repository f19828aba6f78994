"""SmolLM2 decoded by llama.cpp on this CPU, beside which our own decoding can be put.

    python tools/cpu/llama_cpp_peer.py convert SOURCE.gguf F16.gguf      # dequantises every matrix to f16
    python tools/cpu/llama_cpp_peer.py measure F16.gguf [--threads 1,2] [--rows 1,16]

Needs llama-cpp-python (0.3.36 was used; built from source, so that it has this machine's instructions) and gguf (0.19). The prompts and
numbers of tokens are those of `compare.py`, the tokens are taken greedily, one call of `llama_decode` a step for all rows.
Prints one line of JSON a measurement: tokens per second of the decoding steps and of the prompts, per CPU second over both.
"""
import argparse
import json
import statistics
import time

import numpy as np

from compare import NEW, PROMPT, row


def convert(source, target):
    from gguf import GGUFReader, GGUFValueType, GGUFWriter, dequantize

    reader, writer = GGUFReader(source), GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        if field.types[0] == GGUFValueType.ARRAY:
            writer.add_key_value(field.name, field.contents(), GGUFValueType.ARRAY, sub_type=field.types[-1])
        else:
            writer.add_key_value(field.name, field.contents(), field.types[0])
    writer.add_file_type(1)
    for tensor in reader.tensors:
        value = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(tensor.shape[::-1])
        writer.add_tensor(tensor.name, np.ascontiguousarray(value.astype(np.float16) if value.ndim > 1 else value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Decoder:
    def __init__(self, path, rows, threads):
        import llama_cpp as llama

        self.llama, self.rows = llama, rows
        llama.llama_backend_init()
        self.silence = llama.llama_log_callback(lambda *_: None)
        llama.llama_log_set(self.silence, None)
        began = time.perf_counter()
        self.model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
        self.load = time.perf_counter() - began
        settings = llama.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = rows * 256, rows * PROMPT, rows * PROMPT
        settings.n_seq_max, settings.n_threads, settings.n_threads_batch = rows, threads, threads
        self.context = llama.llama_init_from_model(self.model, settings)
        self.vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))
        self.batch = llama.llama_batch_init(rows * PROMPT, 0, 1)

    def step(self, tokens, start):
        """Feeds `tokens[row]` at positions from `start` on; the greedy next token of every row."""
        batch, width = self.batch, len(tokens[0])
        batch.n_tokens = self.rows * width
        for r, words in enumerate(tokens):
            for t, word in enumerate(words):
                i = r * width + t
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = word, start + t, 1, r
                batch.logits[i] = t + 1 == width
        if self.llama.llama_decode(self.context, batch):
            raise SystemExit("llama_decode failed")
        last = [r * width + width - 1 for r in range(self.rows)]
        logits = (self.llama.llama_get_logits_ith(self.context, i) for i in last)
        return [[int(np.ctypeslib.as_array(l, (self.vocabulary,)).argmax())] for l in logits]

    def once(self):
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), True)
        began = time.perf_counter()
        tokens = self.step([row(r, PROMPT, self.vocabulary) for r in range(self.rows)], 0)
        first = time.perf_counter()
        for i in range(NEW - 1):
            tokens = self.step(tokens, PROMPT + i)
        return first - began, time.perf_counter() - first


def measure(path, rows, threads, repeats):
    decoder = Decoder(path, rows, threads)
    decoder.once()
    cpu = time.process_time()
    times = [decoder.once() for _ in range(repeats)]
    cpu = (time.process_time() - cpu) / repeats
    prefill, decode = (statistics.median(t[i] for t in times) for i in (0, 1))
    return {
        "rows": rows, "threads": threads, "decode": rows * (NEW - 1) / decode, "prefill": rows * PROMPT / prefill,
        "per_cpu": rows * NEW / cpu, "load": decoder.load,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)
    of_convert = modes.add_parser("convert")
    of_convert.add_argument("source")
    of_convert.add_argument("target")
    of_measure = modes.add_parser("measure")
    of_measure.add_argument("model")
    of_measure.add_argument("--threads", default="1,2")
    of_measure.add_argument("--rows", default="1,16")
    of_measure.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.mode == "convert":
        return convert(args.source, args.target)
    for rows in map(int, args.rows.split(",")):
        for threads in map(int, args.threads.split(",")):
            print(json.dumps(measure(args.model, rows, threads, args.repeats)), flush=True)


if __name__ == "__main__":
    main()
