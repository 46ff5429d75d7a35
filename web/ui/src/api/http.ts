/**
 * Requests to the server that served this page. Addresses are relative to the document, so any proxy
 * prefix works. A 401 is thrown and also notifies listeners (the login view).
 */

import { parseJson, toJson } from "../util/json";

export class ApiError extends Error {
  /** 0: no response. */
  readonly status: number;
  readonly code: string;
  readonly hint: string;

  constructor(status: number, code: string, message: string, hint: string) {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

export function apiUrl(path: string, base: string = document.baseURI): string {
  return new URL(`v1/${path}`, base).href;
}

/** Joins path segments as `a/b`, each escaped. */
export function segments(...parts: string[]): string {
  return parts.map(encodeURIComponent).join("/");
}

/** Names as one query parameter, `a,b`; commas and backslashes in names are escaped with a backslash. */
export function nameList(names: readonly string[]): string {
  return encodeURIComponent(names.map((name) => name.replace(/[\\,]/g, "\\$&")).join(","));
}

type Listener = () => void;
const unauthorized = new Set<Listener>();

export function onUnauthorized(listener: Listener): () => void {
  unauthorized.add(listener);
  return () => unauthorized.delete(listener);
}

/** Shows the login view, for an action that needs a login. */
export function askForLogin(): void {
  for (const listener of unauthorized) listener();
}

interface ErrorBody {
  error?: { code?: string; message?: string; hint?: string };
}

async function toError(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => ({}))) as ErrorBody;
  const { code = "error", message, hint = "" } = body.error ?? {};
  return new ApiError(
    response.status,
    code,
    message ?? `The server responded with status ${response.status}.`,
    hint,
  );
}

/** Replaces the TypeError of fetch by a readable error; an abort by the page passes through. */
function toUnreachable(error: unknown): never {
  if (!(error instanceof TypeError)) throw error;
  throw new ApiError(
    0,
    "unreachable",
    "The server is not responding.",
    "Check that penstock up is running and that the network connection works.",
  );
}

export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(apiUrl(path), { credentials: "same-origin", ...init }).catch(
    toUnreachable,
  );
  if (response.ok) return response;
  const error = await toError(response);
  if (error.status === 401) for (const listener of unauthorized) listener();
  throw error;
}

export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await request(path, { signal, headers: { Accept: "application/json" } });
  return parseJson(await response.text()) as T;
}

export async function postJson<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  return sendJson("POST", path, body, signal);
}

export async function sendJson<T>(
  method: string,
  path: string,
  body: unknown,
  signal?: AbortSignal,
): Promise<T> {
  const response = await request(path, {
    method,
    signal,
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: toJson(body),
  });
  return parseJson(await response.text()) as T;
}
