"""Conversion of tables from three-byte utf8 to utf8mb4, as pure functions.

Each step is a file of queries whose results are statements, which are then run. Once all is converted there
are none.
"""

from __future__ import annotations

from jarvis.core.text import fill
from jarvis.stateful.database.mariadb import CHARSET, COLLATION, check_names

# The table in which foreign keys are noted before they are dropped. All members have it, so an interrupted
# run loses none.
_NOTES = "jarvis.foreign_keys"

# Text columns of three-byte utf8. MODIFY would lose the expression of a generated column, and a column's own
# check: such columns stay as they are.
_TEXT = """\
FROM information_schema.columns c
JOIN information_schema.tables t USING (table_schema, table_name)
LEFT JOIN information_schema.check_constraints k ON k.constraint_schema = c.table_schema
  AND k.table_name = c.table_name AND k.constraint_name = c.column_name AND k.level = 'Column'
WHERE c.table_schema = '@DATABASE@' AND t.table_type = 'BASE TABLE' AND c.character_set_name = 'utf8mb3'
  AND c.is_generated = 'NEVER' AND k.constraint_name IS NULL"""

# Foreign keys on such columns, as the statements that make them. Where a key had no index MariaDB made one:
# it goes with the key, and comes back under the key's name, which a later migration of the service does not
# know.
_NOTE = f"""\
CREATE DATABASE IF NOT EXISTS jarvis CHARACTER SET {CHARSET};
CREATE TABLE IF NOT EXISTS {_NOTES} (
  of_schema VARCHAR(64), of_table VARCHAR(64), name VARCHAR(64), definition TEXT NOT NULL,
  own_index VARCHAR(64),
  PRIMARY KEY (of_schema, of_table, name)
);
INSERT IGNORE INTO {_NOTES}
WITH foreign_key AS (
  SELECT r.constraint_schema AS of_schema, r.table_name AS of_table, r.constraint_name AS name,
    GROUP_CONCAT('`', u.column_name, '`' ORDER BY u.ordinal_position) AS columns,
    CONCAT(
      'REFERENCES `', r.referenced_table_name, '` (',
      GROUP_CONCAT('`', u.referenced_column_name, '`' ORDER BY u.ordinal_position),
      ') ON DELETE ', r.delete_rule, ' ON UPDATE ', r.update_rule
    ) AS target
  FROM information_schema.referential_constraints r
  JOIN information_schema.key_column_usage u
    ON u.constraint_schema = r.constraint_schema AND u.table_name = r.table_name
    AND u.constraint_name = r.constraint_name
  WHERE r.constraint_schema = '@DATABASE@'
  GROUP BY r.constraint_schema, r.table_name, r.constraint_name
  HAVING SUM((u.table_name, u.column_name) IN (SELECT c.table_name, c.column_name {_TEXT})) > 0
), own_index AS (
  SELECT table_name AS of_table, index_name AS name,
    GROUP_CONCAT('`', column_name, '`' ORDER BY seq_in_index) AS columns
  FROM information_schema.statistics
  WHERE table_schema = '@DATABASE@' AND non_unique = 1
  GROUP BY table_name, index_name HAVING COUNT(sub_part) = 0
)
SELECT f.of_schema, f.of_table, f.name, CONCAT(
  'ADD CONSTRAINT `', f.name, '` FOREIGN KEY (', f.columns, ') ', f.target
), MIN(i.name)
FROM foreign_key f LEFT JOIN own_index i ON i.of_table = f.of_table AND i.columns = f.columns
GROUP BY f.of_table, f.name;
SELECT CONCAT('ALTER TABLE `', of_schema, '`.`', of_table, '` DROP FOREIGN KEY IF EXISTS `', name, '`;')
FROM {_NOTES} WHERE of_schema = '@DATABASE@' ORDER BY of_table, name;
"""

_CONVERT = f"""\
SELECT CONCAT(
  'ALTER TABLE `', c.table_schema, '`.`', c.table_name, '` ',
  GROUP_CONCAT(
    'MODIFY `', c.column_name, '` ', c.column_type,
    ' CHARACTER SET {CHARSET} COLLATE ', REPLACE(c.collation_name, 'utf8mb3_', '{CHARSET}_'),
    IF(c.is_nullable = 'NO', ' NOT NULL', ' NULL'),
    IF(c.column_default IS NULL, '', CONCAT(' DEFAULT ', c.column_default)),
    IF(c.column_comment = '', '', CONCAT(' COMMENT ', QUOTE(c.column_comment))),
    ', ' ORDER BY c.ordinal_position SEPARATOR ''
  ),
  'DEFAULT CHARACTER SET {CHARSET} COLLATE {COLLATION};'
)
{_TEXT}
GROUP BY c.table_schema, c.table_name ORDER BY c.table_name;
SELECT CONCAT('ALTER TABLE `', table_schema, '`.`', table_name, '` DEFAULT CHARACTER SET {CHARSET};')
FROM information_schema.tables t
WHERE table_schema = '@DATABASE@' AND table_type = 'BASE TABLE' AND table_collation LIKE 'utf8mb3%'
  AND table_name NOT IN (SELECT c.table_name {_TEXT})
ORDER BY table_name;
"""

# A row that was added meanwhile and refers to nothing fails the run, and the key stays noted.
_RESTORE = f"""\
SELECT CONCAT('ALTER TABLE `', of_schema, '`.`', of_table, '` ', definition, ';')
FROM {_NOTES} n WHERE of_schema = '@DATABASE@' AND NOT EXISTS (
  SELECT 1 FROM information_schema.referential_constraints r WHERE r.constraint_schema = n.of_schema
    AND r.table_name = n.of_table AND r.constraint_name = n.name
) ORDER BY of_table, name;
SELECT CONCAT(
  'ALTER TABLE `', of_schema, '`.`', of_table, '` RENAME KEY IF EXISTS `', name, '` TO `', own_index, '`;'
)
FROM {_NOTES} WHERE of_schema = '@DATABASE@' AND own_index <> name ORDER BY of_table, name;
SELECT DISTINCT CONCAT('DELETE FROM {_NOTES} WHERE of_schema = ', QUOTE(of_schema), ';')
FROM {_NOTES} WHERE of_schema = '@DATABASE@';
"""

_STEPS = {"note": _NOTE, "convert": _CONVERT, "restore": _RESTORE}


def carry_over_steps(database: str) -> dict[str, str]:
    """The queries that convert ``database``, by step, in order.

    Foreign keys on text are noted and dropped, columns are converted, keys are made again: MariaDB converts
    no column that a key needs (MDEV-31086), and when it did it could not open some tables after a restart. A
    column keeps its type, default and comment, and gets the utf8mb4 variant of its collation, by which values
    compare as before. (CONVERT TO would turn TEXT into MEDIUMTEXT, and several collations into one.)

    Raises:
        ValueError: the name is not of lower-case letters, digits and ``_``.
    """
    check_names(database)
    return {
        name: "SET SESSION group_concat_max_len = 1048576;\n"
        + fill(text, f"the step {name}", database=database)
        for name, text in _STEPS.items()
    }


def run_step(file: str, client: str = "mariadb") -> str:
    """A shell command that runs the statements which the queries in ``file`` result in."""
    return f"set -o pipefail; {client} --batch --skip-column-names --raw <{file} | {client} --batch"
