/**
 * 24 colours of runs, chosen greedily in OKLCH so that each is as distant as possible from all previous
 * ones in normal, deuteranopic and protanopic vision. An index has the same hue in both themes.
 */

const LIGHT = [
  "#0a7bda",
  "#e26b1b",
  "#118f6d",
  "#b545ae",
  "#b98a07",
  "#6346c7",
  "#b61537",
  "#17a2c6",
  "#04596e",
  "#365c02",
  "#de5f99",
  "#891e55",
  "#2348a1",
  "#925b8d",
  "#8d6c1f",
  "#07736b",
  "#a45a4e",
  "#10ac77",
  "#a0268b",
  "#16a7a3",
  "#65328f",
  "#5b6eac",
  "#b0175f",
  "#015f3f",
];
const DARK = [
  "#66afff",
  "#ff9350",
  "#19c799",
  "#eb78e3",
  "#f6b910",
  "#9e8bff",
  "#f05465",
  "#53d6fe",
  "#058eaf",
  "#5d9222",
  "#fea5c9",
  "#c25486",
  "#517cd9",
  "#c88ec3",
  "#c29f57",
  "#0da89d",
  "#dc8c7f",
  "#2fe5a2",
  "#d65cbe",
  "#1ae0db",
  "#9765c6",
  "#8ca2e4",
  "#e9548d",
  "#089868",
];

export const PALETTE_SIZE = LIGHT.length;

export function colourOf(index: number, dark: boolean): string {
  return (dark ? DARK : LIGHT)[index % PALETTE_SIZE];
}

/**
 * Assigns colours to series. A series keeps its colour while the page is open, even if it is hidden or
 * filtered out in between; a new one gets the least used colour.
 */
export class Colours {
  private readonly indices = new Map<string, number>();

  /** A colour index per id. */
  assign(ids: readonly string[]): Map<string, number> {
    const uses = new Array<number>(PALETTE_SIZE).fill(0);
    const known = ids.filter((id) => this.indices.has(id));
    for (const id of known) uses[this.indices.get(id) ?? 0] += 1;
    for (const id of ids) {
      if (this.indices.has(id)) continue;
      const index = uses.indexOf(Math.min(...uses));
      uses[index] += 1;
      this.indices.set(id, index);
    }
    return new Map(ids.map((id) => [id, this.indices.get(id) ?? 0]));
  }
}
