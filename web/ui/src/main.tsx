import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ApiError } from "./api/http";
import { App } from "./pages/App";
import { startTheme } from "./state/theme";
import { toJson } from "./util/json";
import "uplot/dist/uPlot.min.css";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/status.css";
import "./styles/toolbar.css";
import "./styles/runs.css";
import "./styles/charts.css";
import "./styles/pages.css";
import "./styles/edits.css";
import "./styles/table.css";
import "./styles/media.css";
import "./styles/logged.css";
import "./styles/images.css";
import "./styles/run.css";
import "./styles/files.css";
import "./styles/artifacts.css";

const RETRIES = 2;

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      // Filters in query keys may contain bigints.
      queryKeyHashFn: toJson,
      // Retrying does not help after a 4xx.
      retry: (failures, error) =>
        failures < RETRIES &&
        !(error instanceof ApiError && error.status >= 400 && error.status < 500),
    },
  },
});

startTheme();
const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
);
