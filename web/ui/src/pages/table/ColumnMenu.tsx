import type { Column } from "../../state/url";
import { useView, view } from "../../state/view";
import { FieldMenu } from "../../widgets/FieldMenu";
import { ColumnsIcon } from "../../widgets/icons";
import { Popover } from "../../widgets/Popover";
import { toggledColumn } from "./columns";

export function ColumnMenu({ columns }: { columns: readonly Column[] }) {
  const isChosen = useView((shown) => shown.columns !== null);
  return (
    <Popover label="Choose columns" align="right" button={<ColumnsIcon />}>
      {(close) => (
        <>
          <FieldMenu
            label="Search columns"
            chosen={columns.map(({ path }) => path)}
            isOffered={(path) => path !== "name"}
            onPick={(path) => view.setColumns(toggledColumn(columns, path))}
          />
          {isChosen && (
            <button
              type="button"
              className="menu-item menu-foot"
              onClick={() => {
                view.setColumns(null);
                close();
              }}
            >
              Reset to default columns
            </button>
          )}
        </>
      )}
    </Popover>
  );
}
