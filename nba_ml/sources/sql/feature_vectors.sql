-- A part: the arrays of a feature row, by month_rows to train on and by slate_rows to score.
-- Parameter: @feature_names.
{features} AS features,
-- Compared here: the names are most of a row's bytes, and nothing else is needed of them.
{names_in_order} AS names_in_order
