"""First imports and loads behind the page, and which precision agrees with fp32."""
