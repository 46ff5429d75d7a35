/** The kinds of panels. A new one is a file that declares it, and a line here. */

import { chartKind } from "./chart/ChartPanel";
import { audioKind } from "./media/Audio";
import { histogramKind } from "./media/Histograms";
import { htmlKind } from "./media/HtmlPages";
import { imagesKind } from "./media/Images";
import { otherKind } from "./media/OtherFiles";
import { tableKind } from "./media/Table";
import { videoKind } from "./media/Video";
import { PanelKinds } from "./model/kinds";

export const registry = new PanelKinds([
  chartKind,
  imagesKind,
  histogramKind,
  tableKind,
  htmlKind,
  audioKind,
  videoKind,
  otherKind,
]);
