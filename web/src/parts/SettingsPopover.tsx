import { useEffect, useId, useRef, useState, type FocusEvent, type KeyboardEvent } from "react";
import { DEFAULTS, MAX_TOKENS, TEMPERATURE, settingsOf, type Settings } from "../settings";
import { Sliders } from "./icons";

/** The button that tells which model is asked, and the popover behind it. */
export function SettingsPopover({
  settings,
  onChange,
}: {
  settings: Settings;
  onChange: (settings: Settings) => void;
}) {
  const [isOpen, setOpen] = useState(false);
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const box = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (!isOpen) return;
    box.current?.querySelector("input")?.focus();
    const pressedOutside = (event: PointerEvent) => {
      const target = event.target as Node;
      if (!box.current?.contains(target) && !button.current?.contains(target)) setOpen(false);
    };
    document.addEventListener("pointerdown", pressedOutside);
    return () => document.removeEventListener("pointerdown", pressedOutside);
  }, [isOpen]);

  const pressed = (event: KeyboardEvent) => {
    if (event.key !== "Escape" && event.key !== "Enter") return;
    if (event.target instanceof HTMLButtonElement && event.key === "Enter") return;
    event.preventDefault();
    event.stopPropagation();
    setOpen(false);
    button.current?.focus();
  };

  const focusLeft = (event: FocusEvent) => {
    const to = event.relatedTarget;
    if (to !== null && !event.currentTarget.contains(to)) setOpen(false);
  };

  const set = (change: Partial<Settings>) => onChange(settingsOf({ ...settings, ...change }));
  const isDefault = settings.model === "" && settings.temperature === null && settings.maxTokens === null;

  return (
    <div className="settings" onBlur={focusLeft}>
      <button
        ref={button}
        type="button"
        className="quiet"
        aria-haspopup="dialog"
        aria-expanded={isOpen}
        aria-controls={id}
        onClick={() => setOpen(!isOpen)}
      >
        <Sliders />
        <span className="sr">Settings. Model: </span>
        <span className="model">{settings.model || "Automatic"}</span>
      </button>
      {isOpen && (
        <div ref={box} id={id} className="popover" role="dialog" aria-label="Settings" onKeyDown={pressed}>
          <ModelField id={`${id}-model`} value={settings.model} onChange={(model) => set({ model })} />
          <TemperatureField
            id={`${id}-temperature`}
            value={settings.temperature}
            onChange={(temperature) => set({ temperature })}
          />
          <MaxTokensField id={`${id}-tokens`} value={settings.maxTokens} onChange={(maxTokens) => set({ maxTokens })} />
          <button type="button" className="plain" disabled={isDefault} onClick={() => onChange(DEFAULTS)}>
            Back to the defaults
          </button>
        </div>
      )}
    </div>
  );
}

interface ModelProps {
  readonly id: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
}

function ModelField({ id, value, onChange }: ModelProps) {
  return (
    <div className="field">
      <label htmlFor={id}>Model</label>
      <input
        id={id}
        type="text"
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        placeholder="Chosen by the router"
        value={value}
        onChange={(event) => onChange(event.target.value)}
      />
    </div>
  );
}

interface NumberProps {
  readonly id: string;
  readonly value: number | null;
  readonly onChange: (value: number | null) => void;
}

function TemperatureField({ id, value, onChange }: NumberProps) {
  return (
    <div className="field">
      <label htmlFor={id}>
        Temperature <output htmlFor={id}>{value === null ? "default" : value.toFixed(1)}</output>
      </label>
      <input
        id={id}
        type="range"
        min={TEMPERATURE.least}
        max={TEMPERATURE.most}
        step={TEMPERATURE.step}
        value={value ?? TEMPERATURE.usual}
        aria-valuetext={value === null ? `default, ${TEMPERATURE.usual}` : value.toFixed(1)}
        onChange={(event) => onChange(event.target.valueAsNumber)}
      />
      <div className="ends" aria-hidden="true">
        <span>Steady</span>
        <span>Inventive</span>
      </div>
    </div>
  );
}

function MaxTokensField({ id, value, onChange }: NumberProps) {
  return (
    <div className="field">
      <label htmlFor={id}>Longest answer, in tokens</label>
      <input
        id={id}
        type="number"
        inputMode="numeric"
        min={MAX_TOKENS.least}
        max={MAX_TOKENS.most}
        step={1}
        placeholder={MAX_TOKENS.usual.toLocaleString("en")}
        value={value ?? ""}
        onChange={(event) => onChange(Number.isNaN(event.target.valueAsNumber) ? null : event.target.valueAsNumber)}
      />
    </div>
  );
}
