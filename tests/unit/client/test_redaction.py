"""Secrets in what is recorded: those that are known, and those that look like one. Nothing else is touched."""

from __future__ import annotations

import pytest

from penstock.capture.secrets import REDACTED, Redactor, secrets_in, without_credentials

SECRET = "s3cr3tS3CR3Ts3cr3t0123"


@pytest.mark.parametrize(
    "line",
    [
        f"cloning https://user:{SECRET}@example.org/repo.git",
        f"GET https://example.org/x?token={SECRET}&a=1",
        f"GET https://s3.example.org/x?X-Amz-Signature={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"'authorization': 'Basic {SECRET}'",
        f"header bearer {SECRET}",
        f"export HF_TOKEN={SECRET}",
        f'"AWS_SECRET_ACCESS_KEY": "{SECRET}"',
        f"api_key='{SECRET}'",
        f"password: {SECRET}",
        f"--api-key {SECRET}",
        f"key penstock_{SECRET} works",
        f"hf_{SECRET}",
        f"ghp_{SECRET} and more",
        f"OPENAI sk-{SECRET}",
        f"AKIA{SECRET}",
        f"jwt eyJ{SECRET}.{SECRET}.{SECRET}",
        f"-----BEGIN RSA PRIVATE KEY-----{SECRET}",
    ],
)
def test_the_usual_shapes(line: str) -> None:
    redacted = Redactor()(line)
    assert SECRET not in redacted
    assert REDACTED in redacted


@pytest.mark.parametrize(
    "line",
    [
        "epoch 3: loss=0.5 tokens=4096 num_tokens: 100000 tokens/s=12345.6",
        "TOTAL_TOKENS=123456",
        "loading https://example.org/a?page=2&size=10",
        "sorted by key: value=0.25",
        "special tokens: [CLS] [SEP]",
        "the key insight is that attention is all you need",
        "commit d815dea6773c0b054a0a6e26097c6037686d3f3d",
        "100%|██████████| 60000/60000 [00:01<00:00, 40000.00it/s]",
    ],
)
def test_ordinary_output_stays(line: str) -> None:
    assert Redactor()(line) == line


def test_values_that_are_known() -> None:
    known = secrets_in(
        {
            "WANDB_API_KEY": "0123456789abcdef",
            "DB_PASSWORD": "correct horse",
            "HF_TOKEN_PATH": "/home/me/.token",
            "TOKENIZERS_PARALLELISM": "falsefalse",
            "PATH": "/usr/bin:/usr/local/bin",
            "MY_SECRET": "short",
            "MAX_TOKENS": "1000000000",
        }
    )
    assert known == {"0123456789abcdef", "correct horse"}
    redact = Redactor(known)
    assert redact("x0123456789abcdefy correct horse") == f"x{REDACTED}y {REDACTED}"


def test_arguments_of_a_command() -> None:
    given = [
        "train.py", "--api-key", "abc", f"--hf_token={SECRET}", "--max-tokens", "4096", "--password", "-v",
        f"model.api_key={SECRET}", "--lr=0.1", f"WANDB_API_KEY={SECRET}",
    ]  # fmt: skip
    assert Redactor().arguments(given) == [
        "train.py", "--api-key", REDACTED, f"--hf_token={REDACTED}", "--max-tokens", "4096", "--password", "-v",
        f"model.api_key={REDACTED}", "--lr=0.1", f"WANDB_API_KEY={REDACTED}",
    ]  # fmt: skip


def test_a_remote_without_its_credentials() -> None:
    assert without_credentials("https://me:x@example.org/r.git") == "https://example.org/r.git"
    assert without_credentials("git@example.org:r.git") == "git@example.org:r.git"
