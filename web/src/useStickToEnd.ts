import { useCallback, useEffect, useRef, useState, type RefObject } from "react";

const NEAR_PX = 24;
const FAR_PX = 160;

/**
 * Keeps the end in view while content grows, until the reader goes up; going back down to the end takes it up again.
 * It also holds still while the reader has text selected. Where `isOn` is false, the top is what matters.
 */
export function useStickToEnd(isOn: boolean): {
  scroller: RefObject<HTMLDivElement | null>;
  content: RefObject<HTMLDivElement | null>;
  isAway: boolean;
  toEnd: (smoothly?: boolean) => void;
} {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const sticks = useRef(isOn);
  const [isAway, setAway] = useState(false);

  useEffect(() => {
    sticks.current = isOn;
    if (!isOn) scroller.current?.scrollTo({ top: 0, behavior: "instant" });
  }, [isOn]);

  const toEnd = useCallback((smoothly = false) => {
    const box = scroller.current;
    if (box === null) return;
    sticks.current = true;
    const still = !smoothly || matchMedia("(prefers-reduced-motion: reduce)").matches;
    box.scrollTo({ top: box.scrollHeight, behavior: still ? "instant" : "smooth" });
  }, []);

  useEffect(() => {
    const box = scroller.current;
    const inner = content.current;
    if (box === null || inner === null) return;
    let last = box.scrollTop;
    const below = () => box.scrollHeight - box.clientHeight - box.scrollTop;
    const noteAway = () => setAway(below() > FAR_PX);
    const scrolled = () => {
      const wentUp = box.scrollTop < last;
      last = box.scrollTop;
      if (wentUp) sticks.current = below() <= 1;
      else if (below() <= NEAR_PX) sticks.current = true;
      noteAway();
    };
    // The wish to go up is known before the first pixel has moved.
    const wheeled = (event: WheelEvent) => {
      if (event.deltaY < 0 && below() + box.scrollTop > 0) sticks.current = false;
    };
    const grew = () => {
      if (sticks.current && !isSelecting(inner)) box.scrollTop = box.scrollHeight;
      noteAway();
    };
    const observer = new ResizeObserver(grew);
    observer.observe(inner);
    observer.observe(box);
    box.addEventListener("scroll", scrolled, { passive: true });
    box.addEventListener("wheel", wheeled, { passive: true });
    return () => {
      observer.disconnect();
      box.removeEventListener("scroll", scrolled);
      box.removeEventListener("wheel", wheeled);
    };
  }, []);

  return { scroller, content, isAway, toEnd };
}

function isSelecting(inside: HTMLElement): boolean {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && inside.contains(selection.anchorNode);
}
