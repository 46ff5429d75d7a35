/** Nested values as a tree, searchable by path and value. */

import { useMemo } from "react";
import { leaves } from "../../api/paths";
import { matcher } from "../../state/search";
import { formatAny, formatMeasured } from "../../util/format";
import { type Branch, branches } from "./branches";

interface Props {
  title: string;
  value: Record<string, unknown>;
  search: string;
  /** Keys are not nested, and numbers are measurements. */
  isFlat?: boolean;
}

export function Tree({ title, value, search, isFlat = false }: Props) {
  const all = useMemo(
    () => (isFlat ? Object.entries(value ?? {}) : leaves(value)),
    [value, isFlat],
  );
  const found = useMemo(() => {
    const isMatch = matcher(search);
    return all.filter(([path, leaf]) => isMatch(`${path}=${formatAny(leaf)}`));
  }, [all, search]);
  const tree = useMemo(() => branches(found, isFlat ? "/" : "."), [found, isFlat]);
  return (
    <section className="tree" aria-label={title}>
      <h2>
        {title} <span className="count">{found.length}</span>
      </h2>
      {all.length === 0 && <p className="tree-none">Empty</p>}
      {all.length > 0 && found.length === 0 && <p className="tree-none">No matches.</p>}
      <Branches of={tree} isMeasured={isFlat} />
    </section>
  );
}

function Branches({ of, isMeasured }: { of: readonly Branch[]; isMeasured: boolean }) {
  return (
    <ul>
      {of.map((branch) => (
        <li key={branch.name}>
          {branch.branches.length > 0 ? (
            <details open>
              <summary>{branch.name}</summary>
              <Branches of={branch.branches} isMeasured={isMeasured} />
            </details>
          ) : (
            <Leaf branch={branch} isMeasured={isMeasured} />
          )}
        </li>
      ))}
    </ul>
  );
}

function Leaf({ branch, isMeasured }: { branch: Branch; isMeasured: boolean }) {
  const { name, path, value } = branch;
  const exact = formatAny(value) || String(value);
  const text = isMeasured && typeof value === "number" ? formatMeasured(value) : exact;
  return (
    <div className="leaf" title={`${path} = ${exact}`}>
      <span className="leaf-name">{name}</span>
      <span className={`leaf-value is-${typeof value}`}>{text}</span>
    </div>
  );
}
