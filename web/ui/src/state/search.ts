/** What a search box means: a regular expression if it is one, plain text too, never an error. */

export type Matcher = (text: string) => boolean;

/** Case is ignored. Text that is no valid expression (yet) is looked for as it stands. */
export function matcher(query: string): Matcher {
  const plain = query.trim().toLowerCase();
  if (plain === "") return () => true;
  let expression: RegExp | null = null;
  try {
    expression = new RegExp(query.trim(), "im");
  } catch {
    expression = null;
  }
  return (text) => text.toLowerCase().includes(plain) || (expression?.test(text) ?? false);
}
