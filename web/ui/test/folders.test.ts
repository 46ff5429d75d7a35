/** The page's layers, read off its sources: a folder imports only from folders above it in this list. */

import { describe, expect, it } from "vitest";

const ORDER = [
  "util",
  "api",
  "filter",
  "charts",
  "state",
  "widgets",
  "panels/model",
  "panels/chart",
  "panels/media",
  "panels",
  "pages/shared",
  "pages/runs",
  "pages/table",
  "pages/compare",
  "pages/artifacts",
  "pages/files",
  "pages/logs",
  "pages/run",
  "pages",
  ".",
];

const sources = import.meta.glob<string>("../src/**/*.{ts,tsx}", {
  query: "?raw",
  import: "default",
  eager: true,
});

const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*"(\.[^"]+)"/g;

const folderOf = (path: string) => path.split("/").slice(0, -1).join("/") || ".";

/** `pages/run/RunPage` from a file's path and what it imports. */
function resolved(from: string, imported: string): string {
  const base = new URL(from, "file:///");
  return new URL(imported, base).pathname.slice(1);
}

const modules = Object.entries(sources).map(([path, text]) => {
  const name = path.replace("../src/", "");
  const imported = [...text.matchAll(IMPORT)].map(([, found]) => resolved(name, found));
  return { name, imported: imported.filter((found) => !found.endsWith(".css")) };
});

describe("the folders", () => {
  it("are all known", () => {
    const found = new Set(modules.map(({ name }) => folderOf(name)));
    expect([...found].sort()).toEqual([...ORDER].sort());
  });

  it("import one way", () => {
    const rank = (folder: string) => ORDER.indexOf(folder);
    const wrong = modules.flatMap(({ name, imported }) =>
      imported
        .filter((found) => folderOf(found) !== folderOf(name))
        .filter((found) => !(rank(folderOf(found)) < rank(folderOf(name))))
        .map((found) => `${name} imports ${found}`),
    );
    expect(modules.some(({ imported }) => imported.length > 0)).toBe(true);
    expect(wrong).toEqual([]);
  });
});
