/** Search boxes accept plain text and regular expressions; invalid expressions are not errors. */

export type Matcher = (text: string) => boolean;

/** Ignores case. Text that is not a valid expression (yet) is matched literally. */
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
