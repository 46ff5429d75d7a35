/** Builds a tree of folders from file names; pure. */

import type { FileOfRun } from "../../api/types";

export interface Folder {
  name: string;
  path: string;
  folders: Folder[];
  files: FileOfRun[];
  /** Of all files in it. */
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
