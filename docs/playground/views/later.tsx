/** A part of the page that is loaded once somebody comes near it. */
import type { ComponentType } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

export function Later(props: { id: string; title: string; load: () => Promise<ComponentType> }) {
  const { id, title, load } = props;
  const place = useRef<HTMLElement>(null);
  const [Part, setPart] = useState<ComponentType | null>(null);
  useEffect(() => {
    const near = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        near.disconnect();
        void load().then((found) => setPart(() => found));
      },
      { rootMargin: "200px" },
    );
    near.observe(place.current!);
    return () => near.disconnect();
  }, []);
  return (
    <section class="panel" id={id} aria-labelledby={`${id}-title`} ref={place}>
      <h2 id={`${id}-title`}>{title}</h2>
      {Part ? <Part /> : <p class="soft">Loading…</p>}
    </section>
  );
}
