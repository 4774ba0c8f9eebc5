# For those used to make; everything is in ./run, which needs nothing but bash.
COMMANDS := demo test setup lint format types layers tests manifest clean

.PHONY: $(COMMANDS)
$(COMMANDS):
	@./run $@
