"""What SQLite can do, for SQLAlchemy's suite; by default it asks for less, and tests less."""

from __future__ import annotations

from typing import Any

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements

OPEN = """
    boolean_col_expressions datetime_literals dbapi_lastrowid fetch_expression
    fetch_offset_with_options indexes_check_column_order order_by_collation
    repeated_column_foreign_keys repeated_remote_col_foreign_keys supports_bitwise_xor
    autocommit check_constraint_reflection computed_columns
    computed_columns_reflect_persisted computed_columns_stored computed_columns_virtual
    create_table_as create_temp_table_as
    ctes ctes_with_values
    date_historic datetime_historic deferrable_fks
    dialect_level_isolation_level_param
    except_ expression_server_defaults foreign_key_constraint_name_reflection
    foreign_key_constraint_option_reflection_ondelete
    foreign_key_constraint_option_reflection_onupdate
    fk_constraint_option_reflection_ondelete_noaction
    fk_constraint_option_reflection_ondelete_restrict
    fk_constraint_option_reflection_onupdate_restrict get_isolation_level_values has_temp_table
    index_ddl_if_exists indexes_with_expressions
    infinity_floats inline_check_constraint_reflection insert_returning intersect isolation_level
    json_type legacy_unconditional_json_extract
    mod_operator_as_percent_sign nullsordering nvarchar_types
    on_update_cascade order_by_label_with_expression percent_schema_names
    precision_numerics_enotation_small
    precision_numerics_retains_significant_digits reflect_table_options reflects_pk_names
    regexp_match savepoints schema_reflection schemas server_defaults
    skip_autocommit_rollback
    supports_bitwise_and supports_bitwise_not supports_bitwise_or supports_bitwise_shift
    table_ddl_if_exists temp_table_names temporary_views
    timestamp_microseconds tuple_in unicode_ddl
    unique_constraint_reflection update_from
    update_returning uuid_data_type view_column_reflection view_reflection views window_functions
    window_range window_range_numeric
"""

CLOSED = """
    cast_precision_numerics_many_significant_digits implicitly_named_constraints
    independent_connections json_index_supplementary_unicode_element
    nested_aggregates numeric_received_as_decimal_untyped
    parens_in_union_contained_select_w_limit_offset
    parens_in_union_contained_select_wo_limit_offset
"""


class Requirements(SuiteRequirements):  # type: ignore[misc,no-untyped-call]
    """As SQLAlchemy's own for SQLite, as far as the suite asks."""

    def get_order_by_collation(self, config: Any) -> str:
        return "nocase"


for _name in OPEN.split():
    setattr(Requirements, _name, property(lambda self: exclusions.open()))
for _name in CLOSED.split():
    setattr(Requirements, _name, property(lambda self: exclusions.closed()))
