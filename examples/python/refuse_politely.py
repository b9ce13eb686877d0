# SPDX-License-Identifier: MIT
"""A FastAPI service that answers 503, with the arithmetic, where a model would not fit.

    uvicorn refuse_politely:app
    curl -X POST 'http://127.0.0.1:8000/generate?prompt=hello'
"""
import asyncio

import vram
from fastapi import FastAPI, HTTPException

app = FastAPI()
NEEDED = "12GiB"
# A process that holds a lease is answered at once when it wants another, and never waits for itself. One request at a
# time, so that those of this process wait for each other.
turn = asyncio.Lock()


def load_and_generate(prompt):
    """Your model. Whatever it allocates, up to NEEDED, nobody else has been promised."""
    return f"an answer to {prompt!r}"


@app.get("/health")
def health():
    answer = vram.fit(NEEDED)
    return {"fits": bool(answer), "why": str(answer)}


@app.post("/generate")
async def generate(prompt: str):
    try:
        async with turn, vram.lease(NEEDED, label="generate", timeout=5):
            # A client that hangs up cancels this task, and with it a request that still waits.
            return {"text": await asyncio.get_running_loop().run_in_executor(None, load_and_generate, prompt)}
    except vram.DoesNotFit as refusal:
        raise HTTPException(503, {"error": refusal.message, "why": refusal.hint}, {"Retry-After": "30"}) from None
