import { Component, createContext, memo, useContext, type ReactNode } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import { CodeBlock } from "./CodeBlock";
import { blocksOf } from "./blocks";
import { hostOf, safeAddress } from "./links";

/**
 * An answer as Markdown. What a model writes is not trusted: raw HTML stays text, links go only to http, https and
 * mailto, and an image is never loaded (its address could carry the conversation away): it becomes a link.
 */
export const Markdown = memo(function Markdown({ text }: { text: string }) {
  return blocksOf(text).map((block, index) => (
    // Blocks only ever grow at the end, so their place is their identity.
    <Unbroken key={index} text={block}>
      <Block text={block} />
    </Unbroken>
  ));
});

const PLUGINS = [remarkGfm];

const Block = memo(function Block({ text }: { text: string }) {
  return (
    <ReactMarkdown remarkPlugins={PLUGINS} urlTransform={safeAddress} components={COMPONENTS}>
      {text}
    </ReactMarkdown>
  );
});

const InsideLink = createContext(false);

function Link({ href, children }: { href?: string | undefined; children?: ReactNode }) {
  if (href === undefined || href === "") return <>{children}</>;
  return (
    <a href={href} title={href} target="_blank" rel="noopener noreferrer">
      <InsideLink value={true}>{children}</InsideLink>
    </a>
  );
}

function ImageLink({ src, alt }: { src?: string | undefined; alt?: string | undefined }) {
  const label = alt?.trim() ? `Image: ${alt.trim()}` : "Image";
  if (useContext(InsideLink) || src === undefined || src === "") return <span>{label}</span>;
  return (
    <Link href={src}>
      {label} ({hostOf(src)})
    </Link>
  );
}

const COMPONENTS: Components = {
  a: ({ href, children }) => <Link href={href}>{children}</Link>,
  img: ({ src, alt }) => <ImageLink src={typeof src === "string" ? src : undefined} alt={alt} />,
  pre: ({ node }) => <CodeBlock node={node} />,
  table: ({ children }) => (
    <div className="table" tabIndex={0} role="group" aria-label="Table">
      <table>{children}</table>
    </div>
  ),
};

/** Shows the bare text where Markdown cannot be rendered (nested beyond the stack, say): an answer is never lost. */
class Unbroken extends Component<{ text: string; children: ReactNode }, { broken: boolean }> {
  override state = { broken: false };

  static getDerivedStateFromError(): { broken: boolean } {
    return { broken: true };
  }

  override render(): ReactNode {
    return this.state.broken ? <p className="bare">{this.props.text}</p> : this.props.children;
  }
}
