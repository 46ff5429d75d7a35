/** A link to a view, with a real address, so that it can be opened in a new tab. */

import type { ComponentProps, MouseEvent } from "react";
import { formatView, type View } from "../state/url";
import { view } from "../state/view";

interface Props extends Omit<ComponentProps<"a">, "href"> {
  to: View;
}

export function Link({ to, onClick, ...rest }: Props) {
  const follow = (event: MouseEvent<HTMLAnchorElement>) => {
    onClick?.(event);
    const isOurs = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
    if (!isOurs || event.defaultPrevented) return;
    event.preventDefault();
    view.go(to);
  };
  return <a href={formatView(to) || "?"} onClick={follow} {...rest} />;
}
