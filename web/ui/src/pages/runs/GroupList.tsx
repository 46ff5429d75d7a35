/** The groups, which are the legend while runs are grouped. */

import { useRef } from "react";
import { BANDS, type Band } from "../../api/chartOptions";
import type { Series } from "../../api/curves";
import { shortPath } from "../../api/paths";
import { pointAt } from "../../state/hover";
import { useView, view } from "../../state/view";
import { Dot } from "../../widgets/Dot";
import { Segments } from "../../widgets/Segments";
import { useHighlightedRows } from "./useHighlightedRows";

interface Props {
  series: readonly Series[];
  names: ReadonlyMap<string, string>;
  colours: ReadonlyMap<string, string>;
}

const BAND_NAMES: Record<Band, string> = { range: "min–max", std: "± std" };

export function GroupList({ series, names, colours }: Props) {
  const root = useRef<HTMLElement>(null);
  const group = useView((shown) => shown.group);
  const band = useView((shown) => shown.band);
  useHighlightedRows(root);
  return (
    <section ref={root} className="groups" aria-label="Groups">
      <header className="groups-head">
        <span className="groups-title" title={group ?? undefined}>
          {shortPath(group ?? "")}
        </span>
        <Segments
          label="Group band"
          options={BANDS.map((each) => [each, BAND_NAMES[each]])}
          value={band}
          onChange={view.setBand}
        />
      </header>
      <ul onMouseLeave={() => pointAt(null)}>
        {series.map(({ id, runs }) => (
          <li
            key={id}
            className="group"
            data-series={id}
            title={names.get(id)}
            onMouseEnter={() => pointAt(id)}
          >
            <Dot colour={colours.get(id)} />
            <span className="group-name">{names.get(id)}</span>
            <span className="group-count">
              {runs.length} {runs.length === 1 ? "run" : "runs"}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}
