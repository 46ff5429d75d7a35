/** Input for a filter, with completion; applied as soon as it is valid, with errors in place. */

import {
  type KeyboardEvent,
  useEffect,
  useId,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import type { Field } from "../api/types";
import { compileFilter } from "../filter/compile";
import { complete, type Option } from "../filter/complete";
import { useView, view } from "../state/view";
import { CloseIcon, FilterIcon } from "./icons";

const APPLY_DELAY_MS = 400;

interface Props {
  fields: readonly Field[];
  isNarrow?: boolean;
}

export function FilterBox({ fields, isNarrow = false }: Props) {
  const box = useFilterBox(fields);
  const { id, text, options, active, isOpen, problem } = box;
  return (
    <div className="filter">
      <label className={problem ? "search filter-box is-bad" : "search filter-box"}>
        <FilterIcon />
        <input
          ref={box.input}
          type="text"
          data-search="filter"
          role="combobox"
          aria-label="Filter runs"
          aria-expanded={isOpen}
          aria-controls={`${id}-options`}
          aria-activedescendant={isOpen && active >= 0 ? `${id}-${active}` : undefined}
          aria-invalid={problem !== null}
          aria-describedby={`${id}-problem`}
          placeholder={
            isNarrow ? "Filter, e.g. lr > 1e-3" : "Filter, e.g. lr > 1e-3 and state = finished"
          }
          value={text}
          spellCheck={false}
          autoComplete="off"
          autoCapitalize="off"
          onChange={(event) => box.type(event.target.value, event.target.selectionStart)}
          onSelect={(event) => box.moveCaret(event.currentTarget.selectionStart)}
          onFocus={() => box.setOpen(true)}
          onBlur={box.leave}
          onKeyDown={box.onKey}
        />
        {text !== "" && (
          <button
            type="button"
            className="search-clear"
            aria-label="Clear filter"
            onMouseDown={(event) => event.preventDefault()}
            onClick={box.clear}
          >
            <CloseIcon />
          </button>
        )}
      </label>
      {isOpen && (
        <div
          id={`${id}-options`}
          className="menu filter-options"
          role="listbox"
          aria-label="Suggestions"
        >
          {options.map((option, index) => (
            <OptionRow
              key={option.label}
              id={`${id}-${index}`}
              option={option}
              isActive={index === active}
              onPick={() => box.pick(option)}
            />
          ))}
        </div>
      )}
      <p id={`${id}-problem`} className="filter-problem bad" role="status">
        {problem}
      </p>
    </div>
  );
}

interface RowProps {
  id: string;
  option: Option;
  isActive: boolean;
  onPick(): void;
}

function OptionRow({ id, option, isActive, onPick }: RowProps) {
  const row = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (isActive) row.current?.scrollIntoView({ block: "nearest" });
  }, [isActive]);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the combobox handles the keys
    // biome-ignore lint/a11y/useFocusableInteractive: the combobox keeps the focus
    <div
      ref={row}
      id={id}
      role="option"
      aria-selected={isActive}
      className="filter-option"
      onMouseDown={(event) => event.preventDefault()}
      onClick={onPick}
    >
      <span className="filter-label">{option.label}</span>
      <span className="filter-hint">{option.hint}</span>
    </div>
  );
}

function useFilterBox(fields: readonly Field[]) {
  const applied = useView((shown) => shown.filter);
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  const place = useRef<number | null>(null);
  const [text, setText] = useState(applied);
  const [caret, setCaret] = useState(applied.length);
  const [isFocused, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  const completion = useMemo(() => complete(text, caret, fields), [text, caret, fields]);
  const compiled = useMemo(() => compileFilter(text, fields), [text, fields]);
  const isGood = "filter" in compiled;
  // Changed by back, forward or another control.
  useEffect(() => setText(applied), [applied]);
  useEffect(() => {
    if (!isGood || text === applied) return;
    const timer = setTimeout(() => view.filter(text), APPLY_DELAY_MS);
    return () => clearTimeout(timer);
  }, [isGood, text, applied]);

  const type = (next: string, at: number | null) => {
    setText(next);
    setCaret(at ?? next.length);
    setActive(-1);
    setOpen(true);
  };
  const pick = (option: Option) => {
    const next = text.slice(0, completion.from) + option.text + text.slice(completion.to);
    const at = completion.from + option.text.length;
    type(next, at);
    place.current = at;
  };
  // In a layout effect: a frame later it would move the caret while the user types.
  useLayoutEffect(() => {
    if (place.current === null) return;
    input.current?.setSelectionRange(place.current, place.current);
    place.current = null;
  });
  const clear = () => {
    type("", 0);
    view.filter("");
  };
  const { options } = completion;
  const isOpen = isFocused && options.length > 0;
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const by = event.key === "ArrowDown" ? 1 : -1;
      setOpen(true);
      setActive((active + by + options.length + (active < 0 && by < 0 ? 1 : 0)) % options.length);
    } else if (isOpen && (event.key === "Tab" || (event.key === "Enter" && active >= 0))) {
      pick(options[Math.max(0, active)]);
    } else if (event.key === "Enter") {
      if (isGood) view.filter(text);
      setOpen(false);
    } else if (event.key === "Escape" && isOpen) {
      event.stopPropagation();
      setOpen(false);
    } else return;
    event.preventDefault();
  };
  // While the user is still typing, a missing end is not an error yet.
  const isAtEnd = !isGood && compiled.problem.at >= text.length && isFocused;
  const problem = isGood || isAtEnd ? null : compiled.problem.message;
  const leave = () => {
    setOpen(false);
    if (isGood) view.filter(text);
  };
  return {
    id,
    input,
    text,
    options,
    active,
    isOpen,
    problem,
    type,
    pick,
    clear,
    onKey,
    leave,
    setOpen,
    moveCaret: (at: number | null) => setCaret(at ?? 0),
  };
}
