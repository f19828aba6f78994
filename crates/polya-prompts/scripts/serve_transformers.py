#!/usr/bin/env python3
"""A small OpenAI-compatible server around a Hugging Face folder, for trying the pipeline without vLLM.

Requests that arrive together are generated as one batch. Serves /v1/chat/completions and /v1/completions with `n`,
`max_tokens`, `temperature`, `top_p`, `stop` and `seed` (of the batch's first request). Made with Python 3.11, torch 2.11.0
and transformers 5.23.0.

    python3 serve_transformers.py FOLDER [--port 8000] [--threads 2] [--batch 64]
"""

import argparse
import json
import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


class Engine:
    def __init__(self, folder: str, batch: int):
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.batch, self.jobs = batch, queue.Queue()
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while True:
            jobs, rows = [self.jobs.get()], 0
            time.sleep(0.05)
            rows = jobs[0]["n"]
            while rows < self.batch and not self.jobs.empty():
                job = self.jobs.get()
                if job["settings"] != jobs[0]["settings"] or rows + job["n"] > self.batch:
                    self.jobs.put(job)
                    break
                jobs.append(job)
                rows += job["n"]
            try:
                self.generate(jobs)
            except Exception as error:  # the requests must be answered whatever happens
                for job in jobs:
                    job["error"] = repr(error)
                    job["done"].set()

    @torch.inference_mode()
    def generate(self, jobs):
        max_tokens, temperature, top_p, stop = jobs[0]["settings"]
        torch.manual_seed(jobs[0]["seed"])
        texts = [job["text"] for job in jobs for _ in range(job["n"])]
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
        if temperature == 0:
            sampling = {"do_sample": False}
        out = self.model.generate(
            **inputs, **sampling, max_new_tokens=max_tokens, pad_token_id=self.tokenizer.pad_token_id,
            **({"stop_strings": list(stop), "tokenizer": self.tokenizer} if stop else {}),
        )
        eos = self.model.generation_config.eos_token_id
        eos = set(eos if isinstance(eos, list) else [eos])
        results = []
        for row in out[:, inputs["input_ids"].shape[1]:].tolist():
            end = next((i for i, t in enumerate(row) if t in eos), None)
            ids = row if end is None else row[: end + 1]
            text = self.tokenizer.decode(ids, skip_special_tokens=True)
            cut = min((at for at in (text.find(s) for s in stop) if at >= 0), default=None)
            finish = "stop" if end is not None or cut is not None else "length"
            results.append((text if cut is None else text[:cut], finish, len(ids)))
        for job in jobs:
            job["results"], results = results[: job["n"]], results[job["n"]:]
            job["done"].set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: Engine

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        chat = self.path.endswith("/chat/completions")
        text = body.get("prompt")
        if chat:
            text = self.engine.tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
        stop = body.get("stop") or []
        settings = (body.get("max_tokens", 256), body.get("temperature", 1.0), body.get("top_p", 1.0),
                    tuple([stop] if isinstance(stop, str) else stop))
        job = {"text": text, "n": body.get("n", 1), "seed": body.get("seed", 0), "settings": settings,
               "done": threading.Event(), "results": None, "error": None}
        self.engine.jobs.put(job)
        job["done"].wait()
        if job["error"]:
            return self.answer(500, {"error": job["error"]})
        choices = []
        for i, (text, finish, _) in enumerate(job["results"]):
            content = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            choices.append({"index": i, "finish_reason": finish, **content})
        tokens = sum(n for _, _, n in job["results"])
        return self.answer(200, {"choices": choices, "usage": {"completion_tokens": tokens}})

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    Handler.engine = Engine(arguments.folder, arguments.batch)
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    print(f"serving {arguments.folder} on port {arguments.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
