import { SearchIcon } from "./icons";

interface Props {
  /** Used by the keyboard shortcut to find it. */
  name: string;
  label: string;
  placeholder: string;
  shortcut: string;
  value: string;
  onChange(value: string): void;
}

export function SearchBox({ name, label, placeholder, shortcut, value, onChange }: Props) {
  return (
    <label className="search">
      <SearchIcon />
      <input
        type="search"
        data-search={name}
        aria-label={label}
        placeholder={placeholder}
        value={value}
        spellCheck={false}
        autoComplete="off"
        onChange={(event) => onChange(event.target.value)}
      />
      <kbd>{shortcut}</kbd>
    </label>
  );
}
