/** File names as a tree of folders; pure. */

import type { FileOfRun } from "../api/types";

export interface Folder {
  name: string;
  path: string;
  folders: Folder[];
  files: FileOfRun[];
  /** Of all that is in it. */
  bytes: number;
  count: number;
}

const order = new Intl.Collator("en", { numeric: true });

export function toTree(files: readonly FileOfRun[]): Folder {
  const root: Folder = { name: "", path: "", folders: [], files: [], bytes: 0, count: 0 };
  const known = new Map<string, Folder>([["", root]]);
  for (const file of files) {
    const parts = file.name.split("/").slice(0, -1);
    let folder = root;
    add(folder, file);
    parts.forEach((name, at) => {
      const path = parts.slice(0, at + 1).join("/");
      let next = known.get(path);
      if (!next) {
        next = { name, path, folders: [], files: [], bytes: 0, count: 0 };
        known.set(path, next);
        folder.folders.push(next);
      }
      folder = next;
      add(folder, file);
    });
    folder.files.push(file);
  }
  for (const folder of known.values()) {
    folder.folders.sort((a, b) => order.compare(a.name, b.name));
    folder.files.sort((a, b) => order.compare(a.name, b.name));
  }
  return root;
}

function add(folder: Folder, file: FileOfRun): void {
  folder.bytes += file.size_bytes;
  folder.count += 1;
}

export const baseName = (name: string): string => name.slice(name.lastIndexOf("/") + 1);

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** `44.1 kB`, in thousands. */
export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1_000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}
