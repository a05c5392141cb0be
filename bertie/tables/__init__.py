"""One file for each format of tables: delimited, json_lines, parquet, ... The suffix of a file chooses its format.

``table.py`` is the contract. To add a format: write ``bertie/tables/NAME.py`` to it, with a `Format` as ``FORMAT``. All
that reads tables then takes its suffixes. Packages that bertie doesn't require are imported when a file is opened.
"""
