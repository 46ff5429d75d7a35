/** A choice of one of a few options, all visible. */

interface Props<T extends string> {
  label: string;
  options: readonly (readonly [value: T, name: React.ReactNode, title?: string])[];
  value: T;
  onChange(value: T): void;
}

export function Segments<T extends string>({ label, options, value, onChange }: Props<T>) {
  return (
    <fieldset className="segments" aria-label={label}>
      {options.map(([option, name, title]) => (
        <button
          key={option}
          type="button"
          aria-pressed={option === value}
          title={title}
          onClick={() => onChange(option)}
        >
          {name}
        </button>
      ))}
    </fieldset>
  );
}
