/** One line of console output: number, time and coloured text. */

import { memo } from "react";
import type { ConsoleLine } from "../../api/types";
import { type Piece, toPieces } from "./ansi";

const NAMED = /^[a-z-]+$/;

interface Props {
  line: ConsoleLine;
  search: string;
  rank: number | null;
}

export const Line = memo(function Line({ line, search, rank }: Props) {
  const { line: number, stream, time, text } = line;
  return (
    <div className={stream === "stderr" ? "log-line is-error" : "log-line"}>
      <span className="log-number">{number + 1}</span>
      {time !== null && (
        <time className="log-time" title={new Date(time * 1_000).toLocaleString()}>
          {clock(time)}
        </time>
      )}
      {rank !== null && <span className="log-rank">{rank}</span>}
      <span className="log-text">
        {toPieces(text).map((piece, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: pieces have no other id
          <Styled key={at} piece={piece} search={search} />
        ))}
      </span>
    </div>
  );
});

function clock(time: number): string {
  return new Date(time * 1_000).toLocaleTimeString("en-GB", { hour12: false });
}

function Styled({ piece, search }: { piece: Piece; search: string }) {
  const { text, colour, ground, isBold, isFaint, isItalic, isUnderlined } = piece;
  const names = [
    colour && NAMED.test(colour) && !colour.startsWith("rgb") && `ansi-${colour}`,
    ground && NAMED.test(ground) && `ansi-on-${ground}`,
    isBold && "is-bold",
    isFaint && "is-faint",
    isItalic && "is-italic",
    isUnderlined && "is-underlined",
  ].filter(Boolean);
  const style = {
    ...(colour?.startsWith("rgb") && { color: colour }),
    ...(ground?.startsWith("rgb") && { background: ground }),
  };
  return (
    <span className={names.join(" ") || undefined} style={style}>
      <Marked text={text} search={search} />
    </span>
  );
}

function Marked({ text, search }: { text: string; search: string }) {
  const at = search === "" ? -1 : text.toLowerCase().indexOf(search.toLowerCase());
  if (at < 0) return text;
  const end = at + search.length;
  return (
    <>
      {text.slice(0, at)}
      <mark>{text.slice(at, end)}</mark>
      <Marked text={text.slice(end)} search={search} />
    </>
  );
}
