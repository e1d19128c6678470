{#- Ids of the rows of a raw table of which one of `columns` is another since a load. -#}
{% macro changed_settings(table, columns, load) -%}
    select newer.id
    from ({{ newest_within(table, '_load_id > ' ~ load) }}) as newer
    inner join ({{ newest_within(table, '_load_id <= ' ~ load) }}) as older on older.id = newer.id
    where {% for column in columns -%}
        newer.{{ column }} is distinct from older.{{ column }}{{ ' or ' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{% macro newest_within(table, condition) -%}
    select * from (
        select *, row_number() over (partition by id order by _load_id desc) as version_rank
        from {{ source('operational', table) }}
        where {{ condition }}
    ) as versions
    where version_rank = 1
{%- endmacro %}

{#- What every model has taken up, and what an unfinished run left. -#}
{% macro forget_settled_contacts() -%}
    {%- if execute and is_incremental() -%}
    {%- set built = built_up_to() -%}
    delete from {{ this }}
    {%- if built is not none %}
    where changed_load > {{ built.load }} or changed_load <= (select min(load_id) from {{ watermarks() }})
    {%- endif -%}
    {%- endif -%}
{%- endmacro %}
