/** Kinds of panels, and the panels that they make of logged keys; pure. */

import type { LoggedKey } from "./logged";
import type { Panel, PanelKind } from "./panel";

export class PanelKinds {
  readonly all: readonly PanelKind[];
  private readonly byName: ReadonlyMap<string, PanelKind>;
  private readonly byMediaKind: ReadonlyMap<string, PanelKind>;

  constructor(all: readonly PanelKind[]) {
    this.all = all;
    this.byName = new Map(all.map((kind) => [kind.name, kind]));
    this.byMediaKind = new Map(
      all.flatMap((kind) =>
        typeof kind.shows === "string" ? [] : kind.shows.map((value) => [value, kind] as const),
      ),
    );
  }

  /** Throws if the panel is of none of these kinds. */
  kindOf(panel: Panel): PanelKind {
    const kind = this.byName.get(panel.kind);
    if (!kind) throw new Error(`There are no panels of kind ${panel.kind}.`);
    return kind;
  }

  /** One panel of each kind that shows metrics, if the key is one, then one for its media. */
  panelsOf(logged: LoggedKey): Panel[] {
    const forMetric = logged.isMetric ? this.all.filter(({ shows }) => shows === "metrics") : [];
    const forMedia = logged.mediaKinds ? this.forMedia(logged.mediaKinds) : [];
    return [...forMetric, ...forMedia].map((kind) => ({
      id: `${kind.name} ${logged.key}`,
      kind: kind.name,
      keys: [logged.key],
      options: kind.optionsOf(logged),
    }));
  }

  /** The panel that a link to the key opens. A key that is not known (yet) is taken for a metric. */
  panelOf(logged: LoggedKey): Panel {
    return this.panelsOf(logged)[0] ?? this.panelsOf({ ...logged, isMetric: true })[0];
  }

  /** The kind for the first of these values that has a kind of its own. */
  private forMedia(values: readonly string[]): PanelKind[] {
    const own = values.find((value) => this.byMediaKind.has(value));
    return this.all.filter((kind) =>
      own === undefined ? kind.shows === "other media" : kind === this.byMediaKind.get(own),
    );
  }
}
