/**
 * Requests to the server that served this page, wherever a proxy has put it: addresses are relative
 * to the document. A 401 is told to whoever listens (the login view), besides being thrown.
 */

import { parseJson, toJson } from "../util/json";

export class ApiError extends Error {
  /** 0: no answer at all. */
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

/** `a/b` of path segments, each escaped. */
export function segments(...parts: string[]): string {
  return parts.map(encodeURIComponent).join("/");
}

/** Names as one query parameter, `a,b`: a comma or a backslash of a name has a backslash before it. */
export function nameList(names: readonly string[]): string {
  return encodeURIComponent(names.map((name) => name.replace(/[\\,]/g, "\\$&")).join(","));
}

type Listener = () => void;
const unauthorized = new Set<Listener>();

export function onUnauthorized(listener: Listener): () => void {
  unauthorized.add(listener);
  return () => unauthorized.delete(listener);
}

/** As if the server had asked for a login: what the visitor wants to do needs one. */
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
    message ?? `The server answered ${response.status}.`,
    hint,
  );
}

/** What fetch throws tells people nothing; except that the page itself aborted. */
function toUnreachable(error: unknown): never {
  if (!(error instanceof TypeError)) throw error;
  throw new ApiError(
    0,
    "unreachable",
    "The server does not answer.",
    "Check that penstock up is running, and the network between.",
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
