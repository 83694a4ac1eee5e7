/** A figure with a paragraph for a stranger, one for a researcher, and the place in the paper. */
import type { ComponentChildren } from "preact";

export function Figure(props: {
  id: string;
  title: string;
  plain: ComponentChildren;
  expert: ComponentChildren;
  place: string;
  children: ComponentChildren;
}) {
  const { id, title, plain, expert, place, children } = props;
  return (
    <article class="figure" id={id} aria-labelledby={`${id}-title`}>
      <h3 id={`${id}-title`}>{title}</h3>
      <p>{plain}</p>
      {children}
      <details>
        <summary>For researchers</summary>
        <p>{expert}</p>
        <p class="soft">{place}.</p>
      </details>
    </article>
  );
}
