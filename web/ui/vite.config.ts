import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// Relative addresses, so that one build serves under any --root-path; nothing inlined, so that the
// page lives under the content security policy `default-src 'self'`.
export default defineConfig({
  base: "./",
  plugins: [react()],
  build: {
    outDir: "../penstock_web/static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    target: "es2022",
  },
  server: { proxy: { "/v1": { target: "http://127.0.0.1:8080", changeOrigin: true } } },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
});
