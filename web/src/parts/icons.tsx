import type { ReactNode } from "react";

/** Line drawings on a 20 by 20 grid, in the colour of the text. They never carry meaning alone. */
function Icon({ children }: { children: ReactNode }) {
  return (
    <svg className="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const Send = () => (
  <Icon>
    <path d="M10 16V4.5M5 9l5-5 5 5" />
  </Icon>
);
export const Stop = () => (
  <Icon>
    <rect x="5.5" y="5.5" width="9" height="9" rx="1.5" className="solid" />
  </Icon>
);
export const Copy = () => (
  <Icon>
    <rect x="7" y="7" width="9.5" height="9.5" rx="2" />
    <path d="M13 4.5A1.5 1.5 0 0 0 11.5 3.5H5a1.5 1.5 0 0 0-1.5 1.5v6.5A1.5 1.5 0 0 0 4.5 13" />
  </Icon>
);
export const Check = () => (
  <Icon>
    <path d="M4.5 10.5l3.5 3.5 7.5-8" />
  </Icon>
);
export const Sliders = () => (
  <Icon>
    <path d="M3.5 6h6.5M14 6h2.5M3.5 14H6M10 14h6.5" />
    <circle cx="12" cy="6" r="2" />
    <circle cx="8" cy="14" r="2" />
  </Icon>
);
export const Plus = () => (
  <Icon>
    <path d="M10 4.5v11M4.5 10h11" />
  </Icon>
);
export const Menu = () => (
  <Icon>
    <path d="M3.5 6h13M3.5 10h13M3.5 14h13" />
  </Icon>
);
export const Close = () => (
  <Icon>
    <path d="M5 5l10 10M15 5L5 15" />
  </Icon>
);
export const Pencil = () => (
  <Icon>
    <path d="M4 16l.8-3.2L13 4.6a1.4 1.4 0 0 1 2 0l.4.400a1.4 1.4 0 0 1 0 2L7.2 15.2 4 16z" />
  </Icon>
);
export const Bin = () => (
  <Icon>
    <path d="M4 6h12M8 6V4.5h4V6M5.5 6l.7 9.5h7.6l.7-9.5M8.5 9v4M11.5 9v4" />
  </Icon>
);
export const Down = () => (
  <Icon>
    <path d="M10 4v12M5 11l5 5 5-5" />
  </Icon>
);
export const Again = () => (
  <Icon>
    <path d="M4.5 10a5.5 5.5 0 1 0 1.7-4M4 3.5V7h3.5" />
  </Icon>
);

/** The mark: one line in, several out. */
export const Mark = () => (
  <svg className="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <path d="M4 16h24" />
    <path d="M11 16c4.5 0 4-8 9-8h8" />
    <path d="M11 16c4.5 0 4 8 9 8h8" />
  </svg>
);
