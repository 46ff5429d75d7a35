/** Builds a tree of paths; branches with a single leaf stay in one piece. Pure. */

import { groupBy } from "../../util/groupBy";

export interface Branch {
  name: string;
  path: string;
  /** Of a leaf. */
  value: unknown;
  branches: Branch[];
}

export function branches(
  leaves: readonly (readonly [path: string, value: unknown])[],
  separator: string,
): Branch[] {
  return build(
    leaves.map(([path, value]) => ({ path, value, rest: path })),
    separator,
  );
}

interface Item {
  path: string;
  value: unknown;
  rest: string;
}

function build(items: readonly Item[], separator: string): Branch[] {
  const groups = groupBy(items, ({ rest }) => headOf(rest, separator));
  return [...groups].flatMap(([name, inner]): Branch[] => {
    if (inner.length === 1) {
      const [{ path, value, rest }] = inner;
      return [{ name: rest, path, value, branches: [] }];
    }
    const below = inner.filter(({ rest }) => rest !== name);
    const own = inner.filter(({ rest }) => rest === name);
    const nested = below.map((item) => ({ ...item, rest: item.rest.slice(name.length + 1) }));
    return [
      ...own.map(({ path, value }) => ({ name, path, value, branches: [] })),
      ...(below.length > 0
        ? [
            {
              name: own.length > 0 ? `${name}${separator}` : name,
              path: name,
              value: undefined,
              branches: build(nested, separator),
            },
          ]
        : []),
    ];
  });
}

function headOf(path: string, separator: string): string {
  const end = path.indexOf(separator);
  return end > 0 && end < path.length - 1 ? path.slice(0, end) : path;
}
