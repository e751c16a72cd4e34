import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

const ROUTER = "http://localhost:3001";

/**
 * Removes what an earlier build left in `assets/`, after the new files are there. Vite's own emptyOutDir would take
 * the Python package's `__init__.py` with it, and would leave no page at all when a build fails.
 */
function dropStaleAssets(): Plugin {
  return {
    name: "drop-stale-assets",
    apply: "build",
    writeBundle({ dir }, bundle) {
      if (dir === undefined) return;
      for (const name of readdirSync(join(dir, "assets"))) {
        if (!(`assets/${name}` in bundle)) rmSync(join(dir, "assets", name));
      }
    },
  };
}

export default defineConfig({
  plugins: [dropStaleAssets()],
  build: {
    outDir: "../src/trunkline/web",
    emptyOutDir: false,
    // The page runs under a strict content security policy: files of its own, nothing inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // What the bundle holds of others, and under which terms; it goes into the wheel with it.
    license: { fileName: "licenses.md" },
  },
  server: {
    port: 5173,
    strictPort: true,
    proxy: Object.fromEntries(
      ["/api", "/auth", "/health"].map((path) => [path, { target: ROUTER, changeOrigin: true }]),
    ),
  },
});
